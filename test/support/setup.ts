// Runs before each test file, in its process.

import { expect } from 'vitest';
import { endWhenStuck } from './progress.js';

endWhenStuck(() => {
  const { testPath, currentTestName } = expect.getState();
  return `${testPath}: ${currentTestName ?? 'between its tests'}`;
});
