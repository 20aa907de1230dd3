// Tests a platform's package in a root of that platform: its files, the addon in a real Node, each preloadable library by the
// native command, and the tests.

import { existsSync, copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { add } from '../npm/results.mjs';
import { busybox, checkout, folder, get, inRoot, once } from './root.mjs';
import { PLATFORMS } from './table.mjs';

/** The tests of what differs between platforms. */
export const TESTS =
  `contract allocator backend native shim fork workers memory region register spawn command env without-node
  python-child musl`.split(/\s+/);
/** A part of them that takes minutes under an emulator. */
export const QUICK = ['contract', 'allocator'];

/** What the addon can allocate from on Linux. */
const ALL = 'default jemalloc mimalloc snmalloc rust';

/** Where the tests of a platform run, and the folder that what they compile and say is in.
 * @typedef {{ name: string, where: import('./root.mjs').Where, own: string }} Place
 */

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

/** Where a platform's tests run.
 * @param {string} name @param {boolean} cross Whether the compilers there run without an emulator, and little else is there.
 * @returns {Place} */
function place(name, cross) {
  const { root, wheel, emulated, tests, cross: compilers } = PLATFORMS[name];
  const own = join(folder, `tests-${name}`);
  mkdirSync(own, { recursive: true });
  const where = {
    root: cross ? /** @type {const} */ ('toolchain') : root,
    wheel,
    emulated,
    over: { '/checkout/dist/test-bin': own },
    env: { ...(cross ? compilers : tests), ...emulator(emulated) },
  };
  return { name, where, own };
}

/** The files of the package, the addon in a real Node, and each preloadable library by the native command.
 * @param {Place} place */
function look({ name, where }) {
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
  const addon = run('node', '-e', says(available));
  return {
    files: absent.length === 0 ? `${listed.files.length}` : `FAILED: ${absent.join(', ')}`,
    addon: addon === ALL || addon.startsWith('FAILED') ? addon : `FAILED: it has ${addon} only`,
    proofs,
  };
}

/** @param {string} name @param {string[]} files Of test/. @returns {Found} */
export function test(name, files) {
  const at = place(name, false);
  const { own } = at;
  const where = {
    ...at.where,
    over: { ...at.where.over, '/checkout/node_modules': modules(name) },
  };
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
    ...look({ ...at, where }),
    tests: existsSync(summary)
      ? JSON.parse(readFileSync(summary, 'utf8'))
      : { passed: 0, failed: ['vitest came to no end'], skipped: {} },
  };
}

/** As `test`, in less time: a part of the tests, without vitest and what it needs of a system.
 * @param {string} name @returns {Found} */
export function prove(name) {
  const { where, ...at } = place(name, true);
  // There are this machine's modules, and so this machine's package.
  const env = { ...where.env, MALLOC_BACKEND_BINARY_DIR: `/checkout/npm/${name}` };
  /** @type {Found['tests']} */
  const tests = { passed: 0, failed: [], skipped: {} };
  for (const file of QUICK) {
    const results = join(at.own, `${file}.json`);
    rmSync(results, { force: true });
    const runner = ['node', 'test/support/without-vitest.mjs', `dist/test-bin/${file}.json`];
    add(tests, file, results, inRoot({ ...where, env }, [...runner, `dist/test/${file}.test.js`]));
  }
  return { ...look({ ...at, where: { ...where, env } }), tests };
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
