// Builds the addon, the command and the preloadable libraries, and puts them into this platform's package.
//
// One cargo invocation each: cargo unifies the features of one invocation, and the allocators need other TLS in
// an addon, which is opened late, than in a library that is preloaded.
//
//   node npm/build.mjs [--target <triple>] [--package <name>] [--features <of the addon>]

import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { NapiCli } from '@napi-rs/cli';
import { hostPackage } from './host.mjs';

const root = join(import.meta.dirname, '..');
const { values } = parseArgs({
  options: { target: { type: 'string' }, package: { type: 'string' }, features: { type: 'string' } },
});
const name = values.package ?? hostPackage();
const folder = join(root, 'npm', name);
const { files, os } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
const target = values.target === undefined ? [] : ['--target', values.target];
const output = join(root, 'target', ...target.slice(1), 'release');

/** @param {string[]} args */
function cargo(...args) {
  const { status, error } = spawnSync('cargo', args, { cwd: root, stdio: 'inherit' });
  if (error !== undefined) {
    console.error(`npm/build.mjs: cannot run cargo (${error.message}); install Rust 1.88 or newer`);
    process.exit(1);
  }
  if (status !== 0) process.exit(status ?? 1);
}

/** @param {string} library @param {string} file */
function place(library, file) {
  // Renamed into place: a process that has the old file mapped keeps it.
  copyFileSync(join(output, library), join(folder, `${file}.new`));
  renameSync(join(folder, `${file}.new`), join(folder, file));
}

// The addon, and the declarations of what it exports. Linux has all of it, and every Linux the same: elsewhere the
// declarations are put aside.
const declarations = os[0] === 'linux' ? 'src/native/binding.d.ts' : 'target/binding.d.ts';
// Alpine's compiler is the linker. The CLI would have the name that it has where one compiles for Alpine.
process.env.CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER ??= 'cc';
const { task } = await new NapiCli().build({
  cwd: root,
  manifestPath: 'crates/node/Cargo.toml',
  packageJsonPath: 'package.json',
  outputDir: `npm/${name}`,
  dts: `../../${declarations}`,
  platform: true,
  release: true,
  noJsBinding: true,
  cargoOptions: ['--locked'],
  ...(values.target === undefined ? {} : { target: values.target }),
  ...(values.features === undefined ? {} : { features: values.features.split(',') }),
});
await task;

/** Without std there is nothing to unwind with; for the library's own crate alone, so that the allocators' objects are
 * shared with what else is built.
 * @param {string} crate @param {string} library @param {string} file @param {string[]} features */
function preloaded(crate, library, file, ...features) {
  const feature = features.length > 0 ? ['--features', features.join(',')] : [];
  cargo('rustc', '--release', '--locked', ...target, '-p', crate, ...feature, '--', '-Cpanic=abort');
  place(library, file);
}

// A program of its own. With musl in it, it runs on every Linux: that one is published for glibc too
// (.github/workflows/ci.yml).
if (files.includes('malloc-backend')) {
  const command = ['-p', 'malloc-backend-cli'];
  const linked = name.endsWith('-musl') ? ['--', '-Ctarget-feature=+crt-static'] : [];
  cargo('rustc', '--release', '--locked', ...target, ...command, ...linked);
  place('malloc-backend', 'malloc-backend');
}

for (const file of files) {
  const name = /^libmalloc_backend_(\w+)\.so$/.exec(file)?.[1];
  if (name === undefined) continue;
  if (name === 'python_hook') {
    preloaded('malloc-backend-python-hook', 'libmalloc_backend_python_hook.so', file);
  } else if (name === 'profile_hooks') {
    preloaded('malloc-backend-profile-hooks', file, file);
  } else if (name === 'python_profile') {
    // With std, and with panics that unwind: the profiler catches its own.
    cargo('rustc', '--release', '--locked', ...target, '-p', 'malloc-backend-python-profile');
    place(file, file);
  } else {
    const features = name === 'default' ? [] : [name];
    preloaded('malloc-backend-shim', 'libmalloc_backend_shim.so', file, ...features);
  }
}
