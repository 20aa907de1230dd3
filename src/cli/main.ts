#!/usr/bin/env node
import { dirname, join } from 'node:path';
import { binaryFolder } from '../native/loader.js';
import { become } from '../process/become.js';
import { isSupported } from '../process/supported.js';

const words = process.argv.slice(2);
try {
  if (isSupported())
    become({ file: join(binaryFolder(), 'malloc-backend'), argv: ['malloc-backend', ...words] });
  // By the package's name: this file may be a copy in node_modules/.bin, where something follows links as it copies.
  const root = dirname(require.resolve('malloc-backend/package.json'));
  (require(join(root, 'dist/cli/elsewhere.cjs')) as typeof import('./elsewhere.js')).main(words);
} catch (error) {
  // For `eval "$(malloc-backend env …)"`, which does not see this status.
  if (words[0] === 'env') console.log('false');
  console.error(`malloc-backend: ${(error as Error).message}`);
  process.exitCode = 126;
}
