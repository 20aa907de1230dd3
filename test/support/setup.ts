// Runs before each test file, in its process.

import { expect } from 'vitest';
import { endWhenStuck } from './progress.js';

// vitest sets it, and a program that a test starts may heed it: `next build` does.
if (process.env['NODE_ENV'] === 'test') delete process.env['NODE_ENV'];

endWhenStuck(() => {
  const { testPath, currentTestName } = expect.getState();
  return `${testPath}: ${currentTestName ?? 'between its tests'}`;
});
