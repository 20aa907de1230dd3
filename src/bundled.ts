/**
 * Each entry imports this first. In a bundle that is an ES module, CommonJS modules have neither a file name nor a way to
 * load what is Node's, and the next one would fail with a message that names no remedy.
 */

import { MallocBackendError } from './errors.js';

export const BUNDLED =
  'In a bundler, keep the package external, because a bundle cannot contain the binaries ' +
  '(esbuild --external:malloc-backend; webpack externals; rollup and vite external; next serverExternalPackages)';

if (typeof __filename === 'undefined')
  throw new MallocBackendError(
    'ERR_BINARY_MISSING',
    `malloc-backend cannot find its binaries in a bundle. ${BUNDLED}`,
  );
