#!/usr/bin/env node
import { dirname, join } from 'node:path';
import { binaryFolder } from '../native/loader.js';
import { become } from '../process/become.js';
import { isSupported } from '../process/supported.js';

const words = process.argv.slice(2);
// Found by the package's name, because this file may be a copy in node_modules/.bin: some tools copy instead of linking.
const folder = () => join(dirname(require.resolve('malloc-backend/package.json')), 'dist/cli');
// The native program knows the options of all commands. For a command in TypeScript it starts this Node again.
const node = () => ({ MALLOC_BACKEND_NODE: process.execPath, MALLOC_BACKEND_COMMANDS: folder() });
const env = () =>
  ['compare', 'tune', 'profile'].includes(words[0]!) ? { ...process.env, ...node() } : undefined;
let failure: unknown;
try {
  if (isSupported())
    become({ file: join(binaryFolder(), 'malloc-backend'), argv: ['malloc-backend', ...words] }, env());
} catch (error) {
  failure = error;
}
(require(join(folder(), 'elsewhere.cjs')) as typeof import('./elsewhere.js')).main(words, failure);
