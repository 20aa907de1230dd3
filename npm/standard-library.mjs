// Which of this machine's Rusts can compile for a target.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The toolchain in PATH, and the system's, which rustup's may stand in front of.
 * @type {NodeJS.ProcessEnv[]} */
const toolchains = [process.env, { ...process.env, PATH: ['/usr/bin', process.env.PATH].join(delimiter) }];

/** @param {NodeJS.ProcessEnv} env @param {string[]} args */
function rustc(env, ...args) {
  return spawnSync('rustc', args, { env, encoding: 'utf8' }).stdout?.trim() ?? '';
}

/** The environment in which cargo has a standard library for the target, or undefined.
 * @param {string} target */
export function standardLibrary(target) {
  for (const env of toolchains) {
    const libraries = rustc(env, '--print', 'target-libdir', '--target', target);
    if (existsSync(libraries) && readdirSync(libraries).some((file) => file.startsWith('libstd-')))
      return env;
    if (!existsSync(join(rustc(env, '--print', 'sysroot'), 'lib/rustlib/src/rust/library/Cargo.lock')))
      continue;
    return { ...env, RUSTC_BOOTSTRAP: '1', CARGO_UNSTABLE_BUILD_STD: 'std,panic_abort' };
  }
  return undefined;
}
