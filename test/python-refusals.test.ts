// What cannot be, for a Python child, the command and the interpreter in this process: each with its code and reason.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import {
  type MallocBackendErrorCode,
  type PythonAllocatorConfig,
  PythonInterpreter,
  spawnPython,
} from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { parsePythonConfig } from '../src/python/config.js';
import { locatePython } from '../src/python/locate.js';
import { noPython, python as found, pythons, tooOld } from './support/pythons.js';
import { root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const python = found?.file ?? '';
const env = environment({});

/** As options, and as the command's arguments where it has them. */
const wrong: [string, PythonAllocatorConfig, string[] | undefined, MallocBackendErrorCode, RegExp][] = [
  [
    'arenas with mem',
    { allocatorBackend: 'jemalloc', allocatorPymallocArena: true, allocatorMem: true },
    ['jemalloc', '--arena', '--mem'],
    'ERR_PYTHON_CONFIG',
    /allocatorPymallocArena cannot be combined with allocatorMem or allocatorObj:/,
  ],
  [
    'arenas with obj, also for default',
    { allocatorPymallocArena: true, allocatorObj: true },
    ['default', '--arena', '--obj'],
    'ERR_PYTHON_CONFIG',
    /allocatorPymallocArena cannot be combined with allocatorMem or allocatorObj:/,
  ],
  [
    'a backend without a domain',
    { allocatorBackend: 'mimalloc', allocatorRaw: false },
    ['mimalloc', '--no-raw'],
    'ERR_PYTHON_CONFIG',
    /every domain is off, so mimalloc would do nothing/,
  ],
  [
    'nor with debug alone',
    { allocatorBackend: 'rust', allocatorRaw: false, allocatorDebug: true },
    ['rust', '--no-raw', '--debug'],
    'ERR_PYTHON_CONFIG',
    /every domain is off/,
  ],
  [
    'an unknown backend',
    { allocatorBackend: 'tcmalloc' as never },
    ['tcmalloc'],
    'ERR_UNKNOWN_BACKEND',
    /tcmalloc.*must be one of/,
  ],
  [
    'a flag that is none',
    { allocatorMem: 1 as never },
    undefined,
    'ERR_INVALID_ARGUMENT',
    /allocatorMem must be true or false, not 1/,
  ],
  [
    'options that are none',
    'jemalloc' as never,
    undefined,
    'ERR_INVALID_ARGUMENT',
    /options must be an object/,
  ],
  [
    "the name that the process's backend has",
    { backend: 'mimalloc' } as object,
    undefined,
    'ERR_INVALID_ARGUMENT',
    /no option "backend" for Python.*use allocatorBackend/,
  ],
];

/** What the command has no option of that name for. */
const OPTION = /allocator[A-Z]|unsetPythonMalloc/;

/** The pattern with what the command calls the options. */
const asFlags = ({ source }: RegExp) =>
  new RegExp(
    source
      .replace('allocatorPymallocArena', '--arena')
      .replace('allocatorMem', '--mem')
      .replace('allocatorObj', '--obj'),
  );

/** Asks in a process of its own, so that none starts here by mistake. */
async function startElsewhere(options: unknown, variables: Record<string, string> = {}) {
  return tools.evaluate<{ code: string; message: string }>(
    `const { code, message } = await m.PythonInterpreter.start(${JSON.stringify(options)}).catch((error) => error);
     show({ code: code ?? 'started', message });`,
    { env: variables },
  );
}

describe('a choice of domains', { skip: noPython }, () => {
  for (const [what, config, args, code, pattern] of wrong) {
    test(`${what} is refused`, async () => {
      const options = typeof config === 'object' ? { ...config, python, env } : config;
      tools.refuses(() => spawnPython(['-c', ''], options), code, pattern);
      await tools.rejects(PythonInterpreter.start(config), code, pattern);
      if (args === undefined) return;
      const outcome = await tools.command(['python', ...args, '--', '-c', 'print(1)']);
      assert.equal(outcome.code, 2, outcome.stderr);
      assert.equal(outcome.stdout, '');
      assert.match(outcome.stderr, asFlags(pattern));
      assert.doesNotMatch(outcome.stderr, OPTION);
    });
  }
});

test('an option that there is not is refused where nothing else takes it', async () => {
  const options = { allocatorBackend: 'mimalloc', allocatorMemory: true } as object;
  await tools.rejects(
    PythonInterpreter.start(options),
    'ERR_INVALID_ARGUMENT',
    /unknown option "allocatorMemory".*: allocatorBackend,.*, allocatorMem,.*, deepBind, env$/,
  );
});

describe('what would discard the choice', { skip: noPython }, () => {
  const options = { python, allocatorBackend: 'jemalloc' } as const;
  const code = 'ERR_PYTHON_ENVIRONMENT';

  for (const [name, value] of [
    ['PYTHONMALLOC', 'malloc'],
    ['PYTHONDEVMODE', '1'],
  ] as const) {
    test(`${name} is refused, unless it may be unset`, async () => {
      const set = { ...env, [name]: value };
      tools.refuses(
        () => spawnPython(['-c', ''], { ...options, env: set }),
        code,
        new RegExp(`${name} is set.*with unsetPythonMalloc$`),
      );
      assert.equal((await startElsewhere(options, { [name]: value })).code, code);
      assert.equal((await startElsewhere({ ...options, isolated: true }, { [name]: value })).code, 'started');
      const refused = await tools.command(['python', 'jemalloc', '--python', python, '--', '-c', ''], {
        env: { [name]: value },
      });
      assert.equal(refused.code, 126);
      assert.match(refused.stderr, new RegExp(`${name} is set.*with --unset$`, 'm'));

      const unset = { ...options, unsetPythonMalloc: true };
      const child = spawnPython(['-c', `import os; print(os.environ.get("${name}"))`], {
        ...unset,
        env: set,
      });
      let stdout = '';
      child.stdout?.on('data', (chunk) => (stdout += chunk));
      assert.equal((await child.applied).domains.raw?.backend, 'jemalloc');
      await once(child, 'close');
      assert.equal(stdout, 'None\n');
      assert.equal((await startElsewhere(unset, { [name]: value })).code, 'started');
      // With nothing chosen there is nothing to discard.
      await spawnPython(['-c', ''], { python, env: set }).applied;
      await spawnPython(['-c', ''], { ...options, env: { ...env, [name]: '' } }).applied;
    });
  }

  test('-X dev is refused where it is an option of Python', async () => {
    for (const args of [
      ['-X', 'dev'],
      ['-Xdev'],
      ['-bXdev'],
      ['-W', 'ignore', '-X', 'dev'],
      ['-uX', 'dev=1'],
    ]) {
      tools.refuses(
        () => spawnPython([...args, '-c', ''], { ...options, env }),
        code,
        /-X dev.*with allocatorDebug$/,
      );
    }
    for (const args of [
      ['-c', 'print()', '-X', 'dev'],
      ['-X', 'utf8', '-c', 'print()'],
      ['-W', '-X', '-c', 'print()', '-Xdev'],
    ]) {
      const child = spawnPython(args, { ...options, env });
      await child.applied;
      await once(child, 'close');
    }
    const outcome = await tools.command([
      'python',
      'jemalloc',
      '--python',
      python,
      '--',
      '-X',
      'dev',
      '-c',
      '',
    ]);
    assert.equal(outcome.code, 126);
    assert.match(outcome.stderr, /omit -X dev, or turn on only the debug hooks with --debug$/m);
  });

  test('-X dev from a launcher or a first line is seen by the hook', async () => {
    const launcher = tools.file('dev-launcher', `#!/bin/sh\nexec ${python} -X dev "$@"\n`);
    const script = tools.file('dev-script', `#!${python} -Xdev\nprint("begun")\n`);
    for (const [program, args] of [
      [launcher, ['-c', 'print("begun")']],
      [script, []],
    ] as const) {
      const child = spawnPython(args, { ...options, python: program, env });
      let stdout = '';
      child.stdout?.on('data', (chunk) => (stdout += chunk));
      const closed = once(child, 'close');
      await tools.rejects(child.applied, 'ERR_NOT_APPLIED', /-X dev/);
      assert.deepEqual([await closed, stdout], [[126, null], '']);
      // With nothing chosen there is nothing to discard.
      await spawnPython(args, { python: program, env }).applied;
    }
  });

  test('what a launcher sets is seen by the hook, and Python does not begin', async () => {
    const launcher = tools.file('launcher', `#!/bin/sh\nPYTHONMALLOC=malloc exec ${python} "$@"\n`);
    const child = spawnPython(['-c', 'print("begun")'], { ...options, python: launcher, env });
    let stdout = '';
    child.stdout?.on('data', (chunk) => (stdout += chunk));
    const closed = once(child, 'close');
    await tools.rejects(child.applied, 'ERR_NOT_APPLIED', /PYTHONMALLOC is set/);
    assert.deepEqual([await closed, stdout], [[126, null], '']);
  });
});

describe('an interpreter', { skip: noPython }, () => {
  const options = { allocatorBackend: 'mimalloc', env } as const;
  const start = (interpreter: string, others: object = {}) =>
    PythonInterpreter.start({ python: interpreter, allocatorBackend: 'mimalloc', ...others });

  test('that is missing is refused', async () => {
    for (const ignored of [{ allocatorArena: true }, { mallocBackend: 'jemalloc' }, { shell: true }])
      tools.refuses(() => spawnPython([], { ...options, ...ignored }), 'ERR_INVALID_ARGUMENT');
    tools.refuses(() => spawnPython([], { ...options, python: 'no-python' }), 'ERR_PROGRAM_NOT_FOUND');
    tools.refuses(() => spawnPython([], { ...options, python: '/no/python' }), 'ERR_PROGRAM_NOT_FOUND');
    await tools.rejects(start('no-python'), 'ERR_PROGRAM_NOT_FOUND');
    await tools.rejects(start('', { venv: '/no/venv', python: undefined }), 'ERR_PROGRAM_NOT_FOUND');
    await tools.rejects(start(python, { libpython: '/no/libpython.so' }), 'ERR_LIBPYTHON_NOT_FOUND');
    await tools.rejects(start(python, { libpython: 3 }), 'ERR_INVALID_ARGUMENT');
    await tools.rejects(start(python, { isolated: 'yes' }), 'ERR_INVALID_ARGUMENT');
    const outcome = await tools.command(['python', 'mimalloc', '--python', 'no-python']);
    assert.equal(outcome.code, 127);
  });

  test('is asked without the modules of the folder that one is in', async () => {
    const folder = tools.scratch('folder-of-modules');
    mkdirSync(folder);
    mkdirSync(tools.scratch('folder-of-site'));
    for (const name of ['json', 'types', 'sysconfig'])
      tools.file(`folder-of-modules/${name}.py`, 'raise SystemExit(9)');
    const site = tools.scratch('folder-of-site');
    tools.file('folder-of-site/sitecustomize.py', 'print("hello {")');
    const started = (isolated: boolean, more: Record<string, string>) =>
      tools.evaluate(
        `const { libpython } = (await m.PythonInterpreter.start(${JSON.stringify({ python, isolated })})).info();
         process.stdout.write('\\n' + JSON.stringify(typeof libpython))`,
        { cwd: folder, env: more },
      );
    assert.equal(await started(true, { PYTHONHOME: '/none', PYTHONPATH: site }), 'string');
    assert.equal(await started(false, {}), 'string');
  });

  test('that does not belong to the library is refused; without a name, that which does is taken', async (context) => {
    const other = pythons.find(({ version }) => version.split('.')[1] !== found?.version.split('.')[1]);
    if (other === undefined) return context.skip('there is one release of Python only');
    const config = parsePythonConfig({});
    const { libpython, executable } = await locatePython(other.file, undefined, config);
    await tools.rejects(
      start(python, { libpython }),
      'ERR_PYTHON_CONFIG',
      /is Python 3\.\d+, but .* is Python 3\.\d+/,
    );
    const located = await locatePython(undefined, libpython, config);
    assert.equal(realpathSync(located.executable), realpathSync(executable));
  });

  test('that did not start is not started again', async () => {
    // The interpreter that is asked for its library does not see it.
    const asked = tools.file('asked', `#!/bin/sh\nunset PYTHONHOME\nexec ${python} "$@"\n`);
    const outcome = await tools.evaluate<{ codes: string[]; message: string; left: unknown[] }>(
      `const start = (options) => m.PythonInterpreter.start({ python: ${JSON.stringify(asked)}, allocatorMem: true, allocatorObj: true, ...options })
         .then(() => ({ code: 'started' }), (error) => error);
       const refused = await start({ env: { PYTHONMALLOC: 'debug' }, allocatorBackend: 'rust' });
       const left = [process.env.PYTHONMALLOC];
       const first = await start({ env: { PYTHONHOME: '/nonexistent' }, allocatorBackend: 'mimalloc' });
       left.push(process.env.PYTHONHOME);
       const second = await start({ allocatorBackend: 'jemalloc' });
       show({ codes: [refused.code, first.code, second.code], message: second.message, left });`,
    );
    assert.deepEqual(outcome.codes, ['ERR_PYTHON_ENVIRONMENT', 'ERR_PYTHON_START', 'ERR_PYTHON_START']);
    assert.match(outcome.message, /cannot be started again/);
    assert.deepEqual(outcome.left, [null, null], 'what was set is taken back');
  });

  test(
    'that is too old is refused',
    { skip: tooOld === undefined && 'no Python before 3.8 is installed' },
    async () => {
      const old = tooOld?.file ?? '';
      const child = spawnPython(['-c', 'print(1)'], { ...options, python: old });
      const closed = once(child, 'close');
      await tools.rejects(child.applied, 'ERR_NOT_APPLIED', /older than 3\.8/);
      assert.deepEqual(await closed, [126, null]);
      await tools.rejects(start(old), 'ERR_PYTHON_UNSUPPORTED', /older than 3\.8/);
    },
  );

  test('that is no Python is refused', async () => {
    tools.refuses(() => spawnPython([], { ...options, python: 'sh' }), 'ERR_CANNOT_SWITCH', /is not CPython/);
    assert.equal((await tools.command(['python', 'mimalloc', '--python', 'sh', '--', '-c', ':'])).code, 126);
    // Of a script it is not known beforehand what it ends in.
    const script = tools.file('launcher-of-none', '#!/bin/sh\nexec true\n');
    const child = spawnPython([], { ...options, python: script });
    await tools.rejects(child.applied, 'ERR_NOT_APPLIED', /true is not CPython/);
    await tools.rejects(start('sh'), 'ERR_PYTHON_UNSUPPORTED', /does not answer as Python would/);
    await tools.rejects(start('cat'), 'ERR_PYTHON_UNSUPPORTED');
    await tools.rejects(start('false'), 'ERR_PYTHON_UNSUPPORTED', /it exited with status 1$/);
    // Neither what repeats the question, nor Node's own message, which does.
    await tools.rejects(
      start('ls'),
      'ERR_PYTHON_UNSUPPORTED',
      /ls does not answer .*: it exited with status 2$/,
    );
    const killed = tools.file('killed', '#!/bin/sh\nkill -9 $$\n');
    await tools.rejects(
      start(killed),
      'ERR_PYTHON_UNSUPPORTED',
      /does not answer .*: it was ended by SIGKILL$/,
    );
    const config = parsePythonConfig({});
    const twice = [1, 2].map(() => locatePython('echo', undefined, config));
    await Promise.all(
      twice.map((each) => tools.rejects(each, 'ERR_PYTHON_UNSUPPORTED', /printed something else/)),
    );
  });

  test('of another architecture is refused', async () => {
    const bytes = readFileSync(process.execPath).subarray(0, 1 << 20);
    bytes.writeUInt16LE(process.arch === 'x64' ? 183 : 62, 18);
    const other = tools.file('other-machine', bytes);
    tools.refuses(() => spawnPython([], { ...options, python: other }), 'ERR_CANNOT_SWITCH', /built for/);
  });

  test('that is static is refused', async (context) => {
    const program = tools.staticProgram('static-python', 'int main(void) { return 0; }');
    if (program === undefined) return context.skip('the machine has no static C library');
    tools.refuses(
      () => spawnPython([], { ...options, python: program }),
      'ERR_CANNOT_SWITCH',
      /statically linked/,
    );
  });

  /** What a Python exports, and nothing behind it. */
  const fake = (version: string) => `#include <stddef.h>
    #include <string.h>
    typedef struct { void *slots[5]; } table;
    static table domains[3]; static struct { void *slots[3]; } arena;
    void PyMem_GetAllocator(int domain, table *t) { *t = domains[domain]; }
    void PyMem_SetAllocator(int domain, table *t) { ${version.includes('deaf') ? '' : 'domains[domain] = *t;'} }
    void PyObject_GetArenaAllocator(void *t) { memcpy(t, &arena, sizeof arena); }
    void PyObject_SetArenaAllocator(void *t) { memcpy(&arena, t, sizeof arena); }
    void PyMem_SetupDebugHooks(void) {}
    const char *Py_GetVersion(void) { return "${version}"; }
    int main(void) { return 0; }`;

  test('without the GIL takes the raw domain only', async () => {
    const program = tools.cc('free', fake('3.13.0 experimental free-threading build (main) [GCC]'), [
      '-rdynamic',
    ]);
    const raw = spawnPython([], { ...options, python: program });
    const { freeThreaded, domains } = await raw.applied;
    assert.deepEqual([freeThreaded, domains.raw?.backend, domains.obj], [true, 'mimalloc', null]);
    for (const domain of ['allocatorMem', 'allocatorObj', 'allocatorPymallocArena']) {
      const child = spawnPython([], { ...options, python: program, [domain]: true });
      await tools.rejects(child.applied, 'ERR_NOT_APPLIED', /free-threaded.*only the raw domain/);
    }
    // The interpreter in this process asks first.
    const answer = (variables: object, others: object = {}) =>
      tools.file(
        `says-${Object.keys({ ...variables, ...others }).join('-')}`,
        `#!/bin/sh\necho '${JSON.stringify({
          implementation: 'cpython',
          version: [3, 13, 0],
          executable: '/nowhere/python',
          freeThreaded: false,
          prefix: '/nowhere',
          variables: {
            INSTSONAME: null,
            LDLIBRARY: 'libpython3.13.a',
            LIBDIR: '/nowhere/lib',
            LIBPL: null,
            MULTIARCH: null,
            ...variables,
          },
          ...others,
        })}'\n`,
      );
    await tools.rejects(
      start(answer({}, { freeThreaded: true }), { allocatorObj: true }),
      'ERR_PYTHON_UNSUPPORTED',
      /free-threaded.*allocatorRaw/,
    );
    await tools.rejects(start(answer({}, { implementation: 'pypy' })), 'ERR_PYTHON_UNSUPPORTED', /pypy/);
    await tools.rejects(
      start(answer({ LIBPL: '/nowhere/config' })),
      'ERR_LIBPYTHON_NOT_FOUND',
      /no shared library.*enable-shared.*spawnPython/,
    );
    const broken = tools.file('libpython.so.1.0', 'not a library');
    await tools.rejects(start(python, { libpython: broken }), 'ERR_LIBPYTHON_NOT_FOUND', /cannot load/);
    const empty = tools.cc('libempty.so', 'int nothing;', ['-shared', '-fPIC']);
    await tools.rejects(start(python, { libpython: empty }), 'ERR_LIBPYTHON_NOT_FOUND', /has no Py/);
  });

  test('that does not keep what was set is found out', async () => {
    const program = tools.cc('deaf', fake('3.12.0 (deaf)'), ['-rdynamic']);
    const child = spawnPython([], { ...options, python: program });
    const closed = once(child, 'close');
    await tools.rejects(child.applied, 'ERR_NOT_APPLIED', /did not keep the allocator.*raw/);
    assert.deepEqual(await closed, [126, null]);
  });

  test('bound deeply is refused where libc does not own malloc', async () => {
    const outcome = await tools.evaluate<{ code: string; message: string }>(
      `const { code, message } = await m.PythonInterpreter.start(${JSON.stringify({ python, deepBind: true })}).catch((error) => error);
       show({ code, message });`,
      { wrapper: [process.execPath, tools.cli, 'run', 'mimalloc', '--'] },
    );
    assert.equal(outcome.code, 'ERR_PYTHON_CONFIG');
    assert.match(outcome.message, /deepBind needs libc's malloc/);
    assert.equal((await startElsewhere({ python, deepBind: true })).code, 'started');
  });

  test('cannot have variables set from a worker', async () => {
    const outcome = await tools.evaluate<string>(
      `const { Worker } = await import('node:worker_threads');
       const code = ${JSON.stringify(
         `import(${JSON.stringify(tools.index)})
            .then((m) => m.PythonInterpreter.start({ python: ${JSON.stringify(python)}, env: { A: 'b' } }))
            .catch(async ({ code }) => (await import('node:worker_threads')).parentPort.postMessage(code))`,
       )};
       const worker = new Worker(code, { eval: true });
       show(await new Promise((resolve) => worker.once('message', resolve)));`,
    );
    assert.equal(outcome, 'ERR_INVALID_ARGUMENT');
  });
});

describe('malloc-backend python', { skip: noPython }, () => {
  test('becomes Python, and reports when asked', async () => {
    const program = join(root, 'test', 'python', 'program.py');
    const args = ['python', 'snmalloc', '--mem', '--obj', '--python', python, '--report', '--'];
    const outcome = await tools.command([
      ...args,
      '-c',
      'import sys; print(sys.argv); sys.exit(9)',
      '--help',
      '-x',
    ]);
    assert.deepEqual([outcome.code, outcome.stdout], [9, "['-c', '--help', '-x']\n"]);
    assert.deepEqual(JSON.parse(outcome.stderr).domains, ['raw', 'mem', 'obj']);
    const script = await tools.command(['python', 'rust', '--python', python, program]);
    assert.equal(script.code, 0, script.stderr);
    assert.match(script.stdout, /multiprocessing spawn \[0, -1/);
    const both = await tools.command([...args.slice(0, -1), '--malloc', 'jemalloc', '--', '-c', '']);
    assert.match(JSON.parse(both.stderr).malloc, /libmalloc_backend_jemalloc\.so$/);
    assert.match((await tools.command(['python', '--help'])).stdout, /^Run Python/);
    assert.equal((await tools.command(['python'])).code, 2);
    assert.equal((await tools.command(['python', 'jemalloc', '--nonsense'])).code, 2);
  });
});
