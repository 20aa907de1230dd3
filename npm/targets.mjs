// Type-checks the crates for the systems that this machine does not build for. A warning is an error.
//
//   node npm/targets.mjs [<triple> …]     default: all of them
//
// This needs no linker, C compiler or SDK of the other system. It needs a standard library: the target's own, which rustup
// installs, or the source, of which cargo makes one (Debian's packages rustc-web, cargo-web and rust-web-src). A target
// that has neither is left out, and the output says so.

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { standardLibrary } from './standard-library.mjs';

const root = join(import.meta.dirname, '..');
const output = join(root, 'target/check');

// The addon and the command, and with them every crate that they depend on.
const PACKAGES = ['-p', 'malloc-backend-node', '-p', 'malloc-backend-cli'];
const TARGETS = ['aarch64-apple-darwin', 'x86_64-apple-darwin', 'x86_64-pc-windows-gnu'];

/** What cargo reports of this workspace's crates. The standard library may have warnings of its own.
 * @param {string} line @returns {string | undefined} */
function finding(line) {
  if (!line.startsWith('{')) return undefined;
  const { reason, manifest_path: manifest, message } = JSON.parse(line);
  const isOurs = reason === 'compiler-message' && manifest.startsWith(join(root, 'crates'));
  return isOurs && /^(warning|error)/.test(message.level) ? message.rendered : undefined;
}

/** @param {string} target @param {NodeJS.ProcessEnv} env */
function check(target, env) {
  // Nothing is linked, so nothing need be compiled. jemalloc's build runs a configure script, which would notice.
  const override = ['--config', `target.${target}.jemalloc.rustc-cfg=[]`];
  const { status, stdout, stderr } = spawnSync(
    'cargo',
    [
      'check',
      '--locked',
      '--quiet',
      '--message-format',
      'json',
      '--target',
      target,
      ...override,
      ...PACKAGES,
    ],
    {
      cwd: root,
      env: { ...env, CARGO_TARGET_DIR: output, LIBNODE_PATH: output, CC: 'true', CXX: 'true', AR: 'true' },
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    },
  );
  const findings = stdout.split('\n').map(finding).filter(Boolean);
  if (status === 0 && findings.length === 0) return true;
  console.error([`npm/targets.mjs: ${target}: cargo check ${PACKAGES.join(' ')}`, ...findings].join('\n'));
  if (findings.length === 0) console.error(stderr);
  return false;
}

mkdirSync(output, { recursive: true });
// napi-build wants the library that an addon is linked with on windows-gnu.
writeFileSync(join(output, 'libnode.dll'), '');

const chosen = process.argv.length > 2 ? process.argv.slice(2) : TARGETS;
const leftOut = [];
let failed = false;
for (const target of chosen) {
  if (!TARGETS.includes(target)) {
    console.error(`npm/targets.mjs: unknown target ${target}; it must be one of: ${TARGETS.join(', ')}`);
    process.exit(2);
  }
  const env = standardLibrary(target);
  if (env === undefined) {
    leftOut.push(target);
  } else if (check(target, env)) {
    console.log(`npm/targets.mjs: ${target}: no error and no warning`);
  } else {
    failed = true;
  }
}
if (leftOut.length > 0) {
  console.log(
    `npm/targets.mjs: NOT checked: ${leftOut.join(', ')}. There is no standard library for them: run ` +
      `\`rustup target add ${leftOut.join(' ')}\`, or on Debian install rustc-web, cargo-web and rust-web-src.`,
  );
}
process.exit(failed ? 1 : 0);
