/**
 * Each entry imports this module first. In a bundle that is an ES module, CommonJS modules have no file name and cannot load
 * Node's modules. The next module would then fail with a message that names no remedy.
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
