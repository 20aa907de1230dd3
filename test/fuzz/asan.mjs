// The fuzz run with the addon under AddressSanitizer: node test/fuzz/asan.mjs [seconds] [seed]
//
// Needs gcc with libasan. Rust's own switch for it is for nightly compilers: RUSTC_BOOTSTRAP has a stable one take it.
// The `default` and `rust` backends get their blocks from the sanitizer's malloc then, so that what the addon does with
// a block before it is allocated or after it is freed is seen; and all of the addon's own accesses are checked.

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { hostPackage } from '../../npm/host.mjs';

const root = join(import.meta.dirname, '..', '..');
const [, host = ''] = /^host: (.*)$/m.exec(execFileSync('rustc', ['-vV'], { encoding: 'utf8' })) ?? [];
const target = join(root, 'target', 'asan');

/** @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} env */
function run(command, args, env) {
  const { status, signal } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (status !== 0) {
    console.error(`${command} ended with ${signal ?? `status ${status}`}`);
    process.exit(1);
  }
}

// With a target named, build scripts and macros are built without the sanitizer. Without link-time optimisation every
// access keeps its check.
run(
  'cargo',
  ['build', '--release', '--locked', '--target', host, '--target-dir', target, '-p', 'malloc-backend-node'],
  {
    RUSTC_BOOTSTRAP: '1',
    RUSTFLAGS: '-Zsanitizer=address -Zexternal-clangrt',
    CARGO_PROFILE_RELEASE_LTO: 'off',
    CARGO_PROFILE_RELEASE_DEBUG: '1',
  },
);
const folder = join(target, 'package');
mkdirSync(folder, { recursive: true });
copyFileSync(
  join(target, host, 'release', 'libmalloc_backend_node.so'),
  join(folder, `malloc-backend.${hostPackage()}.node`),
);

const libasan = execFileSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
run(process.execPath, [join(root, 'dist', 'test', 'fuzz', 'calls.js'), ...process.argv.slice(2)], {
  LD_PRELOAD: libasan,
  MALLOC_BACKEND_BINARY_DIR: folder,
  // Node keeps what it has until the end, and what cannot be had is to be null.
  ASAN_OPTIONS: 'detect_leaks=0:allocator_may_return_null=1:abort_on_error=1:handle_segv=0',
});
