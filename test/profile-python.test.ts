// The heap profile of Python programs that leak known amounts in known places.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { spawnPython, type SpawnPythonOptions } from '../index.js';
import { command, evaluate, file as program, refuses, watched } from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { assertEstimate } from './support/estimate.js';
import { compiled } from './support/native.js';
import { type Decoded, type Sample, decode, sum, under } from './support/pprof.js';
import { type Python, noPython, python, pythons, tooOld } from './support/pythons.js';
import { type Outcome, ended, run } from './support/run.js';
import { SWITCHING, platform, root } from './support/shims.js';
import { afterAll, beforeAll, describe, test } from './support/suite.js';

const skip =
  process.platform === 'linux' && process.arch === 'x64'
    ? noPython
    : 'heap profiles are for Linux on x64 only';

const folder = mkdtempSync(join(tmpdir(), 'malloc-backend-profile-python-'));
afterAll(() => rmSync(folder, { recursive: true }));

const fixture = join(root, 'test', 'fixtures', 'leaks.py');
const lines = readFileSync(fixture, 'utf8').split('\n');
const library = join(root, 'npm', platform, 'libmalloc_backend_python_profile.so');
let leaking = '';
beforeAll(async () => {
  if (skip === false) leaking = await compiled('leak.so');
});

const INTERVAL = 65_536;
const GAP = '[native frames without unwind information]';

/** Each leak: the function, from 3.11 on qualified, and the size of each block. */
const LEAKS: Record<string, [function_: string, each: number]> = {
  bytes: ['leak_bytes', 100_000],
  small: ['leak_small', 133],
  list: ['leak_list', 100_000],
  method: ['Cache.fill', 50_000],
  recursive: ['recurse', 100_000],
  generator: ['generate', 100_000],
  thread: ['leak_in_thread', 100_000],
  library: ['leak_in_library', 100_004],
  ended: ['ended', 100_000],
};
const ALL = [...Object.keys(LEAKS), 'churn'];

const nameOf = (function_: string, { minor }: Python) =>
  minor >= 11 ? function_ : function_.replace(/^.*\./, '');

let count = 0;
const newFile = () => join(folder, `${count++}.pb.gz`);

async function leak(
  { file: interpreter }: Python,
  names: string[],
  options: SpawnPythonOptions = {},
): Promise<{ profile: Decoded; bytes: Record<string, number> }> {
  const profile = newFile();
  const { stdout } = await finished([fixture, leaking, ...names], {
    python: interpreter,
    profile,
    ...options,
  });
  return { profile: decode(readFileSync(profile)), bytes: JSON.parse(stdout) as Record<string, number> };
}

/** Runs Python, which says nothing on standard error and ends with 0. */
async function finished(args: string[], options: SpawnPythonOptions): Promise<Outcome> {
  const env = environment({ MALLOC_BACKEND_PROFILE_INTERVAL: String(INTERVAL) });
  const stdio = ['pipe', 'pipe', 'pipe', 'pipe'] as const;
  const child = spawnPython(args, { env, stdio: [...stdio], ...options });
  child.stdin?.end();
  const [outcome] = await Promise.all([ended(watched(child)), child.applied]);
  assert.deepEqual([outcome.code, outcome.stderr], [0, '']);
  return outcome;
}

const isPython = ({ module, file }: Sample['frames'][number]) => module === '' && file !== '';

function assertLeak(
  { profile, bytes }: { profile: Decoded; bytes: Record<string, number> },
  name: string,
  version: Python,
): void {
  const [function_, each] = LEAKS[name]!;
  const samples = under(profile, nameOf(function_, version));
  const line = lines.findIndex((text) => text.endsWith(`# leak: ${name}`)) + 1;
  const place = name === 'ended' ? '/ended/früher.py:4' : `${fixture}:${line}`;
  // Python's own frame objects are not leaked, but some are in use.
  const leaked = samples.filter(({ frames }) => {
    const innermost = frames.find(isPython)!;
    assert.equal(innermost.name, nameOf(function_, version));
    return `${innermost.file}:${innermost.line}` === place;
  });
  assertEstimate(leaked, bytes[name]!, each, INTERVAL, `${name} on ${version.version}`);
  assert.ok(sum(samples) - sum(leaked) < 0.01 * bytes[name]!, name);
}

function assertWhole({ samples, comments }: Decoded): void {
  assert.deepEqual(comments, []);
  for (const { frames } of samples) {
    const names = frames.map(({ name }) => name);
    // Each evaluator has its Python functions in its place.
    assert.ok(!names.includes('_PyEval_EvalFrameDefault'), names.join(' < '));
    assert.ok(!names.includes(GAP), names.join(' < '));
    assert.ok(!names.includes('[Python function not read]'), names.join(' < '));
  }
}

describe('a leak is found where it is', { skip }, () => {
  for (const version of pythons) {
    test(`on Python ${version.version} (${version.file})`, async () => {
      const found = await leak(version, ALL);
      for (const name of Object.keys(LEAKS)) assertLeak(found, name, version);
      // What was freed is not in use.
      const freed = under(found.profile, 'churn');
      assert.ok(sum(freed, 'allocSpace') > 30_000_000, `${sum(freed, 'allocSpace')}`);
      assert.ok(sum(freed) < 0.02 * sum(freed, 'allocSpace'), `${sum(freed)}`);
      // Python's own code before the first line of the program has native frames only, or Python's.
      const own = found.profile.samples.filter(({ frames }) => frames.some(({ file }) => file === fixture));
      assertWhole({ ...found.profile, samples: own });
    });
  }
});

describe('the stack of a leak', { skip }, () => {
  for (const version of pythons) {
    test(`goes through Python and C on ${version.version} (${version.file})`, async () => {
      const { profile } = await leak(version, ['recursive', 'generator', 'thread', 'library']);
      const stack = (function_: string) => {
        const samples = under(profile, function_).toSorted((a, b) => b.inuseSpace - a.inuseSpace);
        return samples[0]!;
      };
      const pythonNames = (function_: string) =>
        stack(function_)
          .frames.filter(isPython)
          .map(({ name }) => name.replace(/^.*\./, ''));
      const recursive = pythonNames('recurse');
      assert.deepEqual(
        recursive,
        [...Array<string>(21).fill('recurse'), '<lambda>', 'times', '<lambda>', ...recursive.slice(24)],
        recursive.join(' < '),
      );
      assert.equal(recursive.at(-1), '<module>');
      const line = lines.findIndex((text) => text.endsWith('# calls itself')) + 1;
      const callers = stack('recurse').frames.filter(({ name }) => name === 'recurse');
      assert.deepEqual(
        callers.slice(1).map((frame) => frame.line),
        Array<number>(20).fill(line),
      );
      assert.deepEqual(pythonNames('generate').slice(0, 2), ['generate', 'leak_generator']);
      assert.deepEqual(pythonNames('leak_in_thread').slice(0, 4), [
        'leak_in_thread',
        'times',
        '<lambda>',
        'run',
      ]);
      // C that runs without Python's lock.
      const [innermost] = stack('leak_in_library').frames;
      assert.deepEqual([innermost!.name, basename(innermost!.module)], ['leak_in_c', 'leak.so']);
      assert.deepEqual(pythonNames('leak_in_library').slice(0, 2), ['leak_in_library', 'leak_library']);
      const [main, thread] = [stack('recurse'), stack('leak_in_thread')].map(({ labels }) => labels);
      assert.equal(main!['backend'], 'default');
      assert.notEqual(main!['thread_id'], thread!['thread_id']);
    });
  }
});

describe('wherever the memory comes from', { skip }, () => {
  const version = python!;
  const names = ['bytes', 'small', 'list', 'library'];
  const everywhere = async (options: SpawnPythonOptions, backend = 'default') => {
    const found = await leak(version, names, options);
    for (const name of names) assertLeak(found, name, version);
    assert.equal(under(found.profile, 'leak_bytes')[0]!.labels['backend'], backend);
  };
  const every = { allocatorMem: true, allocatorObj: true };

  for (const backend of SWITCHING) {
    test(`malloc on ${backend}`, () => everywhere({ malloc: backend }, backend));
    test(`raw on ${backend}`, () => everywhere({ allocatorBackend: backend }));
    test(`raw, mem and obj on ${backend}`, () => everywhere({ allocatorBackend: backend, ...every }));
    test(`raw and the arenas on ${backend}`, () =>
      everywhere({ allocatorBackend: backend, allocatorPymallocArena: true }));
  }
  test('all domains on rust', () => everywhere({ allocatorBackend: 'rust', ...every }));
  test("with Python's debug hooks", async () => {
    const { profile, bytes } = await leak(version, ['bytes'], { allocatorDebug: true });
    assertEstimate(under(profile, 'leak_bytes'), bytes['bytes']!, 100_000, INTERVAL, 'bytes');
  });
  test('while tracemalloc runs', async () => {
    const profile = newFile();
    const options = { python: version.file, profile };
    const { stdout } = await finished(['-X', 'tracemalloc', fixture, leaking, 'small'], options);
    const bytes = (JSON.parse(stdout) as Record<string, number>)['small']!;
    const samples = under(decode(readFileSync(profile)), 'leak_small');
    // What tracemalloc itself keeps for each object comes on top.
    assert.ok(sum(samples) > bytes * 0.9, `${sum(samples)} of ${bytes}`);
  });
});

/** Runs a Python program with the library preloaded, as without this package's commands. */
const preloaded = (version: Python, args: string[], env: Record<string, string> = {}) =>
  run(version.file, args, {
    env: {
      LD_PRELOAD: library,
      MALLOC_BACKEND_PROFILE_INTERVAL: String(INTERVAL),
      MALLOC_BACKEND_PROFILE_FILE: newFile(),
      ...env,
    },
  });

describe('the library, preloaded', { skip }, () => {
  const version = python!;

  test('writes the profile at a signal, and goes on', async () => {
    const file = newFile();
    const script = program(
      'signalled.py',
      `import os, signal, sys
first = bytes(5_000_000)
os.kill(os.getpid(), signal.SIGUSR2)
print(os.path.getsize(sys.argv[1]) > 0)
os.rename(sys.argv[1], sys.argv[1] + ".first")
second = bytes(5_000_001)
`,
    );
    const env = { MALLOC_BACKEND_PROFILE_FILE: file, MALLOC_BACKEND_PROFILE_SIGNAL: 'SIGUSR2' };
    for (const each of pythons) {
      const { code, stdout, stderr } = await preloaded(each, [script, file], env);
      assert.deepEqual([code, stdout, stderr], [0, 'True\n', ''], each.version);
      const linesOf = (name: string) =>
        decode(readFileSync(name))
          .samples.filter(({ inuseSpace }) => inuseSpace >= 5_000_000)
          .map(({ frames }) => frames.find(isPython)!.line);
      assert.deepEqual(linesOf(`${file}.first`), [2]);
      assert.deepEqual(linesOf(file).toSorted(), [2, 6]);
    }
  });

  test('a forked child writes no file; one that runs a program writes its own', async () => {
    const own = mkdtempSync(join(folder, 'children-'));
    const script = program(
      'children.py',
      `import multiprocessing, os, sys
kept = []
def work():
    kept.append(bytes(5_000_000))
    print(os.getpid(), flush=True)
if __name__ == "__main__":
    kept.append(bytes(5_000_000))
    for way in ["fork", "spawn"]:
        process = multiprocessing.get_context(way).Process(target=work)
        process.start()
        process.join()
        assert process.exitcode == 0
    forked = os.fork()
    if forked == 0:
        work()
        sys.exit(0)
    os.waitpid(forked, 0)
    print(os.getpid())
`,
    );
    const env = { MALLOC_BACKEND_PROFILE_FILE: join(own, '%p.pb.gz') };
    const { code, stdout, stderr } = await preloaded(version, [script], env);
    assert.deepEqual([code, stderr], [0, '']);
    const [fork, spawn, exits, parent] = stdout.trim().split('\n');
    const written = readdirSync(own).map((name) => name.replace('.pb.gz', ''));
    assert.ok(written.includes(parent!) && written.includes(spawn!), written.join(' '));
    assert.ok(!written.includes(fork!) && !written.includes(exits!), written.join(' '));
    const { samples } = decode(readFileSync(join(own, `${spawn}.pb.gz`)));
    assert.equal(sum(under({ samples } as Decoded, 'work')), 5_000_033);
  });

  test('leaves the end of the program as it is', async () => {
    const code = 'import sys; kept = bytes(1_000_000); sys.exit(5)';
    assert.equal((await preloaded(version, ['-c', code])).code, 5);
    const raises = await preloaded(version, ['-S', '-I', '-c', 'raise ValueError(1)']);
    assert.deepEqual([raises.code, raises.stderr.trim().split('\n').at(-1)], [1, 'ValueError: 1']);
    const lost = await preloaded(version, ['-c', 'print(1)'], {
      MALLOC_BACKEND_PROFILE_FILE: '/no/such/folder/x',
    });
    assert.deepEqual([lost.code, lost.stdout], [0, '1\n']);
    assert.match(lost.stderr, /^malloc-backend: cannot write the heap profile: No such file/);
  });

  test('does nothing in a program that is not Python', async () => {
    const outcome = await run('sh', ['-c', 'echo x'], { env: { LD_PRELOAD: library } });
    assert.deepEqual([outcome.code, outcome.stdout, outcome.stderr], [0, 'x\n', '']);
  });

  test('refuses what cannot be, before the first line', async () => {
    const refused = async (env: Record<string, string>, why: RegExp, version_ = version) => {
      const outcome = await preloaded(version_, ['-c', 'print(1)'], env);
      assert.deepEqual([outcome.code, outcome.stdout], [126, '']);
      assert.match(outcome.stderr, why);
    };
    await refused({ MALLOC_BACKEND_PROFILE_INTERVAL: '63' }, /_INTERVAL must be a number of bytes from 64/);
    await refused({ MALLOC_BACKEND_PROFILE_SIGNAL: 'USR2' }, /_SIGNAL must be the name of a signal/);
    await refused({ MALLOC_BACKEND_PROFILE_SIGNAL: 'SIGNONE' }, /signal: "SIGNONE"/);
    await refused({ MALLOC_BACKEND_PROFILE_SIGNAL: 'SIGKILL' }, /signal: "SIGKILL"/);
    await refused({ MALLOC_BACKEND_PROFILE: 'socket' }, /=socket is for Node/);
    if (tooOld !== undefined) await refused({}, /is older than 3\.8/, tooOld);
  });

  test("with Python's own debug settings there is no profile, and it says so", async () => {
    for (const [words, env, name] of [
      [[], { PYTHONMALLOC: 'debug' }, 'PYTHONMALLOC'],
      [['-X', 'dev'], {}, '-X dev'],
    ] as const) {
      const file = newFile();
      const outcome = await preloaded(version, [...words, '-c', 'print(1)'], {
        ...env,
        MALLOC_BACKEND_PROFILE_FILE: file,
      });
      assert.deepEqual([outcome.code, outcome.stdout], [0, '1\n']);
      assert.ok(
        outcome.stderr.startsWith(
          `malloc-backend: no heap profile of this Python, because of ${name}: Python's debug hooks`,
        ),
        outcome.stderr,
      );
      assert.ok(!readdirSync(folder).includes(basename(file)));
    }
  });
});

describe('how it is asked for', { skip }, () => {
  test('malloc-backend python --profile', async () => {
    const file = newFile();
    const args = ['python', 'mimalloc', '--obj', '--profile', file, '--python', python!.file];
    const { code, stderr } = await command([...args, '--', '-c', 'kept = bytes(50_000_000)']);
    assert.deepEqual([code, stderr], [0, '']);
    const { samples } = decode(readFileSync(file));
    const own = samples.filter(({ frames }) => frames.find(isPython)?.file === '<string>');
    assert.equal(sum(own), 50_000_033);
  });

  test("what Python starts has a profile of its own, unless children: 'none'", async () => {
    for (const children of ['inherit', 'none'] as const) {
      const own = mkdtempSync(join(folder, 'started-'));
      const code = 'import subprocess, sys; subprocess.run([sys.executable, "-c", "print(1)"], check=True)';
      await finished(['-c', code], {
        python: python!.file,
        profile: join(own, '%p.pb.gz'),
        children,
      });
      assert.equal(readdirSync(own).length, children === 'inherit' ? 2 : 1, children);
    }
  });

  test('profile must be the name of a file', () => {
    for (const profile of ['', true, 5, 'a\0b'])
      refuses(
        () => spawnPython([], { profile: profile as string }),
        'ERR_INVALID_ARGUMENT',
        /^profile must be/,
      );
  });
});

describe('PythonInterpreter', { skip }, () => {
  const PROGRAM = `
kept = []
def leak_bytes():
    return bytes(100_000)
def leak_small():
    return bytes(100)
def work():
    for _ in range(400):
        kept.append(leak_bytes())
    for _ in range(300_000):
        kept.append(leak_small())
`;
  const inProcess = async (interpreter: string, options: object, order: 'profile' | 'python') => {
    const file = newFile();
    const profile = `m.heapProfile.start({ interval: ${INTERVAL} });`;
    const start = `const python = await m.PythonInterpreter.start(${JSON.stringify({ python: interpreter, ...options })});`;
    const result = await evaluate<{ before: object; after: object }>(
      `import { writeFileSync } from 'node:fs';
       ${order === 'profile' ? profile + start : start + profile}
       const before = python.info().domains;
       await python.exec(${JSON.stringify(PROGRAM)});
       await python.eval('work()');
       const after = python.info().domains;
       writeFileSync(${JSON.stringify(file)}, await m.heapProfile.stop());
       show({ before, after });`,
    );
    assert.deepEqual(result.before, result.after);
    return { profile: decode(readFileSync(file)), ...result };
  };
  const shared = pythons.filter(({ file }) => file !== '/usr/bin/python3');

  for (const version of shared) {
    for (const order of ['python', 'profile'] as const) {
      test(`${version.version}, ${order} first`, async () => {
        const { profile } = await inProcess(version.file, {}, order);
        assert.deepEqual(profile.comments, []);
        const of = (name: string, bytes: number, each: number, line: number) => {
          const samples = under(profile, name);
          assertEstimate(samples, bytes, each, INTERVAL, name);
          for (const { frames } of samples) {
            const [innermost, next] = frames.filter(({ file }) => file === '<exec>');
            assert.deepEqual([innermost!.name, innermost!.line], [name, line]);
            assert.equal(next!.name, 'work');
          }
        };
        of('leak_bytes', 400 * 100_033, 100_033, 4);
        of('leak_small', 300_000 * 133, 133, 6);
      });
    }
  }

  test(
    'on a backend, which info() still reports',
    { skip: shared.length === 0 && 'no Python with a shared library' },
    async () => {
      const options = { allocatorBackend: 'mimalloc', allocatorMem: true, allocatorObj: true };
      const { profile, after } = await inProcess(shared.at(-1)!.file, options, 'python');
      const { obj } = after as { obj: { backend: string } };
      assert.equal(obj.backend, 'mimalloc');
      assertEstimate(under(profile, 'leak_small'), 300_000 * 133, 133, INTERVAL, 'small');
      assertEstimate(under(profile, 'leak_bytes'), 400 * 100_033, 100_033, INTERVAL, 'bytes');
    },
  );
});

test('500 MiB at the default interval are within 10 %', { skip }, async () => {
  const script = program(
    'large.py',
    'def leak():\n    return bytes(2**20)\nkept = [leak() for _ in range(512)]\n',
  );
  const profile = newFile();
  await finished([script], { python: python!.file, profile, env: environment({}) });
  const estimate = sum(under(decode(readFileSync(profile)), 'leak'));
  assert.ok(Math.abs(estimate / 2 ** 29 - 1) < 0.1, `${estimate}`);
});
