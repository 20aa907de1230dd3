// Builds the package of another platform by npm/build.mjs, in a root with its compilers.

import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { checkout, folder, get, inRoot, root } from './root.mjs';
import { PLATFORMS } from './table.mjs';

/**
 * Runs a program that compiles the crates in a root. They come through this machine's cargo, which knows where from, and with
 * them the crates of Rust's standard library, which is compiled where Debian has none. The root's cargo finds them there.
 * @param {import('./root.mjs').Where} where What is made stays in the folders of `over`.
 * @param {string[]} command
 */
export function compile({ over = {}, env = {}, ...where }, command) {
  const library = join(root(where.root), 'usr/lib/rustlib/src/rust/library');
  for (const folder of [checkout, library]) {
    const env = { ...process.env, RUSTC_BOOTSTRAP: '1' };
    get('cargo', ['fetch', '--locked', '--quiet'], { cwd: folder, env });
  }
  const registry = join(process.env['CARGO_HOME'] ?? join(homedir(), '.cargo'), 'registry');
  for (const path of Object.values(over)) mkdirSync(path, { recursive: true });
  const offline = { CARGO_HOME: '/opt/cargo', CARGO_NET_OFFLINE: 'true' };
  const { status } = inRoot(
    { ...where, over: { ...over, '/opt/cargo/registry': registry }, env: { ...offline, ...env } },
    command,
  );
  if (status !== 0) throw new Error(`${command.slice(0, 2).join(' ')} failed`);
}

/** The same code, in less of the compiler's time: for what is proven and not published. */
const UNOPTIMISED = {
  CARGO_PROFILE_RELEASE_OPT_LEVEL: '1',
  CARGO_PROFILE_RELEASE_LTO: 'off',
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16',
};

/** @param {string} name @param {boolean} optimised As a release is. */
export function build(name, optimised) {
  const { target, env } = PLATFORMS[name];
  const cargo = join(folder, optimised ? 'cargo' : 'cargo-unoptimised');
  const over = { '/checkout/target': cargo, '/opt/zig-cache': join(folder, 'zig-cache') };
  const command = `node npm/build.mjs --target ${target} --package ${name}`.split(' ');
  const all = {
    ZIG_GLOBAL_CACHE_DIR: '/opt/zig-cache',
    // The platforms without a standard library need it. With and without it cargo would compile all programs of the build anew.
    RUSTC_BOOTSTRAP: '1',
    ...(optimised ? {} : UNOPTIMISED),
    ...env,
  };
  compile({ root: 'toolchain', over, env: all }, command);
}
