// What a user does first: installs the tarballs of the root and of this platform, runs the command, imports the package.
//
//   node npm/smoke.mjs <folder of the tarballs>

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { hostPackage } from './host.mjs';

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('npm/smoke.mjs: name the folder of the tarballs');
  process.exit(2);
}
const canSwitch = process.platform === 'linux';
const isWindows = process.platform === 'win32';
const project = mkdtempSync(join(tmpdir(), 'malloc-backend-smoke-'));

/** @param {string} program @param {string[]} args @param {number} [expected] */
function run(program, args, expected = 0) {
  // npm is a script on Windows.
  const shell = isWindows && program === 'npm';
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: project,
    encoding: 'utf8',
    shell,
  });
  assert.equal(status, expected, `${program} ${args.join(' ')}: ${error?.message ?? ''}${stdout}${stderr}`);
  return { stdout, stderr };
}

/** @param {string} name */
function tarball(name) {
  const files = readdirSync(resolve(folder ?? '')).filter((file) =>
    new RegExp(`^${name}-\\d.*\\.tgz$`).test(file),
  );
  assert.equal(files.length, 1, `${folder} has ${files.length} tarballs of ${name}, not one`);
  return join(resolve(folder ?? ''), files[0] ?? '');
}

/** The command that npm installed, as npx starts it. @param {string[]} args @param {number} [expected] */
const command = (args, expected) =>
  run(
    process.execPath,
    [join('node_modules', 'malloc-backend', 'dist', 'cli', 'main.cjs'), ...args],
    expected,
  );

try {
  writeFileSync(join(project, 'package.json'), '{ "name": "smoke", "private": true }');
  const tarballs = [tarball('malloc-backend'), tarball(`malloc-backend-${hostPackage()}`)];
  // Offline: the other platforms' packages are optional, and are in no registry before they are published.
  run('npm', ['install', '--offline', '--no-audit', '--no-fund', ...tarballs]);

  const node = [process.execPath, '-e'];
  if (canSwitch) {
    for (const backend of ['default', 'jemalloc', 'mimalloc', 'snmalloc'])
      command(['run', backend, '--', ...node, `require('malloc-backend').assertBackend('${backend}')`]);
    command(['doctor']);
  } else {
    const { stdout, stderr } = command([
      'run',
      'mimalloc',
      '--if-supported',
      '--',
      ...node,
      "console.log('ran')",
    ]);
    assert.equal(stdout, 'ran\n');
    assert.match(stderr, /the program runs without a switch/);
    command(['run', 'mimalloc', '--', ...node, '0'], 126);
  }
  const use = `
    import { Allocator, backends } from 'malloc-backend';
    const available = backends().filter(({ surfaces }) => surfaces.allocator.available).map(({ backend }) => backend);
    for (const backend of available) {
      const allocator = Allocator.create(backend);
      const buffer = allocator.allocate(1 << 20).fill(7);
      if (buffer[(1 << 20) - 1] !== 7) throw new Error(backend);
      allocator.free(buffer);
    }
    console.log(available.join(' '));`;
  const { stdout } = run(process.execPath, ['--input-type=module', '-e', use]);
  const expected = ['default', 'jemalloc', 'mimalloc', 'snmalloc', 'rust'];
  assert.equal(stdout, `${expected.filter((name) => !isWindows || name !== 'jemalloc').join(' ')}\n`);
  console.log(`${hostPackage()}: the tarballs install, run and import`);
} finally {
  rmSync(project, { recursive: true, force: true });
}
