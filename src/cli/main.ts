#!/usr/bin/env node
import { dirname, join } from 'node:path';
import { binaryFolder } from '../native/loader.js';
import { become } from '../process/become.js';
import { isSupported } from '../process/supported.js';

const words = process.argv.slice(2);
let failure: unknown;
try {
  if (isSupported())
    become({ file: join(binaryFolder(), 'malloc-backend'), argv: ['malloc-backend', ...words] });
} catch (error) {
  failure = error;
}
// By the package's name: this file may be a copy in node_modules/.bin, where something follows links as it copies.
const root = dirname(require.resolve('malloc-backend/package.json'));
(require(join(root, 'dist/cli/elsewhere.cjs')) as typeof import('./elsewhere.js')).main(words, failure);
