// Tests a platform's package in a root of that platform: its files, the addon in a real Node, each preloadable library by the
// native command, and the tests.

import { existsSync, copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { busybox, checkout, folder, get, inRoot, once } from './root.mjs';
import { PLATFORMS } from './table.mjs';

/** The tests of what differs between platforms. */
export const TESTS =
  `contract allocator backend native shim fork workers memory region register spawn command env without-node
  python-child musl`.split(/\s+/);
/** A part of them that takes minutes under an emulator. */
export const QUICK = ['contract', 'allocator'];

/**
 * What was found of a platform.
 * @typedef {object} Found
 * @property {string} files
 * @property {string} addon
 * @property {Record<string, string> | undefined} proofs By backend; undefined where there is no `malloc` to switch.
 * @property {import('../../test/support/reporters.js').Summary} tests
 */

/** What tells a test that it runs in an emulator.
 * @param {boolean} emulated @returns {Record<string, string>} */
const emulator = (emulated) => (emulated ? { TEST_EMULATOR: 'qemu' } : {});

/** The modules that vitest needs on the platform, installed by this machine's npm.
 * @param {string} name */
function modules(name) {
  const { libc } = PLATFORMS[name];
  const cpu = name.split('-')[1] ?? '';
  const at = once(join(folder, `modules-${name}`), (unfinished) => {
    for (const file of ['package.json', 'package-lock.json'])
      copyFileSync(join(checkout, file), join(unfinished, file));
    symlinkSync(join(checkout, 'npm'), join(unfinished, 'npm'));
    const args = ['ci', '--silent', '--ignore-scripts', '--os=linux', `--cpu=${cpu}`, `--libc=${libc}`];
    get('npm', args, { cwd: unfinished });
  });
  return join(at, 'node_modules');
}

/** @param {string} name @param {string[]} files Of test/. @returns {Found} */
export function test(name, files) {
  const { root, wheel, emulated, tests: env } = PLATFORMS[name];
  const own = join(folder, `tests-${name}`);
  mkdirSync(own, { recursive: true });
  const where = {
    root,
    wheel,
    emulated,
    over: { '/checkout/node_modules': modules(name), '/checkout/dist/test-bin': own },
    env: { ...env, ...emulator(emulated) },
  };
  const run = (/** @type {string[]} */ ...command) => {
    const { status, stdout, stderr } = inRoot(where, command, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return status === 0 ? String(stdout).trim() : `FAILED: ${String(stderr).trim().split('\n').at(-1)}`;
  };
  /** @type {{ files: string[] }} */
  const listed = JSON.parse(readFileSync(join(checkout, 'npm', name, 'package.json'), 'utf8'));
  const absent = listed.files.filter((file) => !existsSync(join(checkout, 'npm', name, file)));

  const says = (/** @type {string} */ expression) =>
    `import('/checkout/dist/index.js').then((api) => console.log(${expression}))`;
  const available = "api.backends().filter((each) => each.available).map((each) => each.backend).join(' ')";
  /** @type {Record<string, string>} */
  const proofs = {};
  for (const backend of ['default', 'jemalloc', 'mimalloc', 'snmalloc']) {
    // The command ends with an error where its library does not report; and the program itself says what it runs on.
    const active = ['node', '-e', says('api.activeBackend().backend')];
    proofs[backend] = run(`npm/${name}/malloc-backend`, 'run', backend, '--', ...active);
    if (proofs[backend] === backend) proofs[backend] = 'proven';
    else if (!proofs[backend].startsWith('FAILED')) proofs[backend] = `FAILED: it runs on ${proofs[backend]}`;
  }
  const summary = join(own, 'summary.json');
  rmSync(summary, { force: true });
  const paths = files.map((file) => `test/${file}.test.ts`);
  inRoot({ ...where, env: { ...where.env, TEST_SUMMARY: '/checkout/dist/test-bin/summary.json' } }, [
    'node',
    'node_modules/vitest/vitest.mjs',
    'run',
    ...paths,
  ]);
  return {
    files: absent.length === 0 ? `${listed.files.length}` : `FAILED: ${absent.join(', ')}`,
    addon: run('node', '-e', says(available)),
    proofs,
    tests: existsSync(summary)
      ? JSON.parse(readFileSync(summary, 'utf8'))
      : { passed: 0, failed: ['vitest came to no end'], skipped: {} },
  };
}

/** Packs the tarballs of the root and of the platform, and has a service installed from them.
 * @param {string} name @returns {string[]} What the service's steps said; the last one that failed begins with FAILED. */
export function service(name) {
  const { service: root, wheel, emulated, busybox: cpu } = PLATFORMS[name];
  const tarballs = join(folder, `tarballs-${name}`);
  rmSync(tarballs, { recursive: true, force: true });
  mkdirSync(tarballs, { recursive: true });
  // As npm's own scripts do, but without a build: other platforms' tests may be using the last one.
  const manifest = (/** @type {string} */ mode) => get('node', ['npm/manifest.mjs', mode], { cwd: checkout });
  manifest('versions');
  try {
    for (const packed of [checkout, join(checkout, 'npm', name)])
      get('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', tarballs], {
        cwd: packed,
        stdio: ['ignore', 'ignore', 'inherit'],
      });
  } finally {
    manifest('folders');
  }
  const tools = cpu === undefined ? undefined : busybox(cpu);
  const where = {
    root,
    wheel,
    emulated,
    over: {
      '/opt/tarballs': tarballs,
      ...(tools === undefined ? {} : { '/opt/busybox': tools, '/usr/bin': join(tools, 'bin') }),
    },
    env: emulator(emulated),
  };
  const { status, stdout, stderr } = inRoot(where, ['node', 'platforms/service.mjs', '/opt/tarballs'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const steps = String(stdout).trim().split('\n');
  return status === 0 ? steps : [...steps, `FAILED: ${String(stderr).trim().slice(-500)}`];
}
