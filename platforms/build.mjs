// Builds the package of another platform by npm/build.mjs, in a root with its compilers.

import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { checkout, folder, get, inRoot } from './root.mjs';
import { PLATFORMS } from './table.mjs';

/** @param {string} name */
export function build(name) {
  const { target, env } = PLATFORMS[name];
  // The crates come through this machine's cargo, which knows where from; the root's cargo finds them there.
  get('cargo', ['fetch', '--locked', '--quiet'], { cwd: checkout });
  const registry = join(process.env['CARGO_HOME'] ?? join(homedir(), '.cargo'), 'registry');
  const own = { '/checkout/target': join(folder, 'cargo'), '/opt/zig-cache': join(folder, 'zig-cache') };
  for (const path of Object.values(own)) mkdirSync(path, { recursive: true });
  const offline = {
    CARGO_HOME: '/opt/cargo',
    CARGO_NET_OFFLINE: 'true',
    ZIG_GLOBAL_CACHE_DIR: '/opt/zig-cache',
  };
  const { status } = inRoot(
    { root: 'toolchain', over: { ...own, '/opt/cargo/registry': registry }, env: { ...offline, ...env } },
    ['node', 'npm/build.mjs', '--target', target, '--package', name],
  );
  if (status !== 0) throw new Error('npm/build.mjs failed');
}
