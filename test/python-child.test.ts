// A Python child: each version × backend × set of domains runs a real program, and proves whose its domains are.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PythonChild, type SpawnPythonOptions, spawnPython } from '../index.js';
import { file, rejects, scratch, watched } from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { testRealProgram } from './support/matrix.js';
import { BACKENDS, noPython, python } from './support/pythons.js';
import { root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const env = environment({});

async function finished(
  child: PythonChild,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (chunk) => (stdout += chunk));
  child.stderr?.on('data', (chunk) => (stderr += chunk));
  const [code] = (await once(watched(child), 'close')) as [number | null];
  return { code, stdout, stderr };
}

async function run(args: string[], options: SpawnPythonOptions) {
  const child = spawnPython(args, { env, ...options });
  const [applied, outcome] = await Promise.all([child.applied, finished(child)]);
  return { applied, ...outcome, counters: child.pythonCounters() };
}

testRealProgram(0, async (program, config) => {
  const { code, stdout, stderr, applied, counters } = await run([program], config);
  assert.equal(code, 0, stderr);
  return { stdout, report: applied, counters };
});

describe('spawnPython', { skip: noPython }, () => {
  const interpreter = python?.file ?? '';
  const options = { python: interpreter, allocatorBackend: 'mimalloc' } as const;

  test('leaves arguments, standard streams and exit status as they are', async () => {
    const code = 'import sys; print(sys.argv, sys.stdin.read()); sys.exit(5)';
    const child = spawnPython(['-c', code, '-x', '--', 'é'], { env, ...options });
    child.stdin?.end('input');
    const { code: status, stdout } = await finished(child);
    assert.deepEqual([status, stdout], [5, "['-c', '-x', '--', 'é'] input\n"]);
    const module = await run(['-m', 'json.tool', '--help'], options);
    assert.match(module.stdout, /json\.tool|usage/);
  });

  test('shows the program nothing of itself', async () => {
    const look = 'import os; print(sorted(os.environ.items()), sorted(os.listdir("/proc/self/fd")))';
    const { stdout } = await run(['-c', look], { ...options, counters: true, children: 'none' });
    const plain = await new Promise<string>((resolve) => {
      void import('node:child_process').then(({ execFile }) =>
        execFile(interpreter, ['-c', look], { env }, (_, out) => resolve(out)),
      );
    });
    assert.equal(stdout, plain);
  });

  test('what Python starts has the hook too, unless it is to be left alone', async () => {
    const look =
      'import subprocess, sys; print(subprocess.check_output([sys.executable, "-c", "print(open(\'/proc/self/maps\').read().count(\'python_hook\') > 0)"]).decode())';
    assert.match((await run(['-c', look], options)).stdout, /True/);
    assert.match((await run(['-c', look], { ...options, children: 'none' })).stdout, /False/);
  });

  test('leaves what Python starts the allocators that it asks for itself', async () => {
    const starts = (words: string, env: string) =>
      `import os, subprocess, sys; print(subprocess.run([sys.executable, ${words}"-c", ` +
      `"import sys; print(sys.flags.dev_mode)"], env={**os.environ, ${env}}, capture_output=True, text=True))`;
    for (const [words, env, isDev] of [
      ['', '', 'False'],
      ['"-X", "dev", ', '', 'True'],
      ['', '"PYTHONDEVMODE": "1"', 'True'],
      ['', '"PYTHONMALLOC": "malloc"', 'False'],
      ['', '"PYTHONMALLOC": "debug"', 'False'],
    ] as const) {
      const { stdout, code } = await run(['-c', starts(words, env)], options);
      assert.equal(code, 0);
      assert.ok(
        stdout.includes(`returncode=0, stdout='${isDev}\\n', stderr='')`),
        `${words}${env}: ${stdout}`,
      );
    }
  });

  test('what is started after one that asked for its own has the domains again', async () => {
    const program = file(
      'starts.py',
      `import os, subprocess, sys
if len(sys.argv) > 1:
    subprocess.run([sys.executable, *sys.argv[1].split(), __file__, *sys.argv[2:]])
else:
    print(os.environ["MALLOC_BACKEND_PYTHON_CHILDREN"], "MALLOC_BACKEND_PYTHON" in os.environ)`,
    );
    const { stdout } = await run([program, '-X dev', '-B'], options);
    assert.equal(stdout, 'inherited True\n');
  });

  test('switches the whole process as well, and its children unless they are to be left alone', async () => {
    const look =
      'import subprocess; print(subprocess.check_output(["cat", "/proc/self/maps"]).decode().count("malloc_backend") > 0)';
    const both = { ...options, allocatorBackend: 'jemalloc', malloc: 'mimalloc' } as const;
    const { applied, stdout } = await run(['-c', look], both);
    assert.match(applied.owner, /libmalloc_backend_mimalloc\.so$/);
    assert.equal(applied.domains.raw?.backend, 'jemalloc');
    assert.match(stdout, /True/);
    assert.match((await run(['-c', look], { ...both, children: 'none' })).stdout, /False/);
  });

  test('tunes the allocator of the domains unless told otherwise, and none where Python keeps them', async () => {
    const look =
      'import os; print(os.environ.get("MALLOC_BACKEND_JEMALLOC"), "GLIBC_TUNABLES" in os.environ)';
    const said = async (more: SpawnPythonOptions) =>
      (await run(['-c', look], { ...options, ...more })).stdout;
    assert.match(await said({ allocatorBackend: 'jemalloc' }), /background_thread:true.* False/);
    assert.equal(await said({ allocatorBackend: 'jemalloc', preset: 'none' }), 'None False\n');
    assert.equal(await said({ allocatorBackend: 'default' }), 'None False\n');
    assert.equal(await said({ allocatorBackend: 'rust' }), 'None False\n');
  });

  const look = 'import os; print([name for name in os.environ if name.lstrip("MI").startswith("ALLOC_")])';

  test('hands options to the allocator, and takes them away from what is to be left alone', async () => {
    const { stdout, stderr } = await run(['-c', look], {
      ...options,
      children: 'none',
      allocatorBackend: 'jemalloc',
      set: { stats_print: 'true' },
    });
    assert.equal(stdout, '[]\n');
    assert.match(stderr, /Begin jemalloc statistics/);
  });

  test('hands them over before the first domain is used', async () => {
    const { stdout, stderr } = await run(['-c', look], {
      ...options,
      children: 'none',
      allocatorPymallocArena: true,
      set: { verbose: '1' },
    });
    assert.equal(stdout, '[]\n');
    assert.match(stderr, /mimalloc: /);
  });

  test('counts while the program runs', async () => {
    const child = spawnPython(
      ['-c', 'import sys; kept = bytes(50_000_000); print(flush=True); sys.stdin.read(1)'],
      {
        ...options,
        env,
        counters: true,
      },
    );
    await once(child.stdout ?? assert.fail(), 'data');
    const raw = child.pythonCounters()?.raw ?? assert.fail();
    assert.ok(raw.liveBytes >= 50_000_000 && raw.liveBytes < 80_000_000, String(raw.liveBytes));
    child.stdin?.end();
    await finished(child);
    assert.ok((child.pythonCounters()?.raw.liveBytes ?? 0) < 50_000_000);
    assert.equal(spawnPython(['-c', ''], { ...options, env }).pythonCounters(), undefined);
  });

  test('is proven while a launcher waits for it, and behind any launcher', async () => {
    // Python goes on until its input ends, and the launcher with it.
    const child = spawnPython(['-c', 'import sys; sys.stdin.read()'], {
      ...options,
      env,
      python: file('waits', `#!/bin/sh\n${interpreter} "$@"\nexit 7\n`),
    });
    const closed = finished(child);
    assert.equal((await child.applied).domains.raw?.backend, 'mimalloc');
    assert.equal(child.exitCode, null);
    child.stdin?.end();
    assert.equal((await closed).code, 7);

    // However soon that is over.
    const soon = file('waits-not-long', `#!/bin/sh\n${interpreter} -E "$@"\nexit 7\n`);
    for (const args of [['-c', 'print(1)', 'é'], ['-c', ''], []]) {
      const short = spawnPython(args, {
        ...options,
        env,
        python: soon,
        stdio: ['ignore', 'ignore', 'ignore'],
      });
      assert.notEqual((await short.applied).pid, short.pid);
    }

    const bash = file('by-env', `#!/usr/bin/env sh\nexec ${interpreter} "$@"\n`);
    assert.equal((await run(['-c', 'print(1)'], { ...options, python: bash })).stdout, '1\n');

    const writes = file(
      'writes',
      `#!/bin/sh\necho hello >&3\necho '{"pid": 1}' >&3\nexec ${interpreter} "$@"\n`,
    );
    assert.equal((await run(['-c', 'print(2)'], { ...options, python: writes })).stdout, '2\n');
  });

  test('is not that of a Python which a launcher only asks something', async () => {
    const count = async (line: string) => {
      const python = file('asks', `#!/bin/sh\n${line}\nexec ${interpreter} "$@"\n`);
      const child = spawnPython(['-c', 'print(1)'], { ...options, env, python, counters: true });
      const closed = finished(child);
      assert.equal((await child.applied).pid, child.pid);
      assert.equal((await closed).stdout, '1\n');
      return child.pythonCounters()?.raw.allocations ?? assert.fail();
    };
    const asked = `${interpreter} -c 'x = [bytearray(600) for n in range(100_000)]'`;
    const [alone, behind] = [await count(''), await count(`X=$(${asked})`)];
    assert.ok(Math.abs(behind - alone) < 1000, `${behind} allocations, without the question ${alone}`);
    // What comes after it has no hook.
    const python = file('unswitched', `#!/bin/sh\nX=$(${asked})\nLD_PRELOAD= exec ${interpreter} "$@"\n`);
    const child = spawnPython(['-c', 'print(1)'], { ...options, env, python });
    await rejects(child.applied, 'ERR_NOT_APPLIED', /did not get these arguments/);
  });

  test('touches no file that a launcher puts in the place of its own', async () => {
    const [kept, counted] = [scratch('kept'), scratch('counted')];
    const cases: [string, number][] = [
      [`exec 3>${kept}`, 3],
      ['exec 3>&1', 3],
      ['exec 3>&-', 3],
      [`head -c 4096 /dev/zero > ${counted}; exec 4<>${counted}`, 4],
    ];
    for (const [line, fd] of cases) {
      const launcher = file('replaces', `#!/bin/sh\n${line}\nexec ${interpreter} "$@"\n`);
      const child = spawnPython(['-c', 'print("begun")'], {
        ...options,
        env,
        counters: true,
        python: launcher,
      });
      const closed = finished(child);
      await assert.rejects(child.applied, { code: 'ERR_NOT_APPLIED' }, line);
      const { code, stdout, stderr } = await closed;
      assert.deepEqual([code, stdout], [126, ''], line);
      assert.match(stderr, new RegExp(`through file descriptor ${fd}, but a launcher closed it`));
    }
    assert.equal(readFileSync(kept, 'utf8'), '');
    assert.ok(readFileSync(counted).every((byte) => byte === 0));
  });

  test('does nothing with default, and says so', async () => {
    const { applied } = await run(['-c', ''], { python: interpreter });
    assert.equal(applied.backend, 'default');
    assert.deepEqual(applied.domains, { raw: null, mem: null, obj: null, arena: null });
  });

  for (const backend of BACKENDS.filter((name) => name !== 'default')) {
    test(`forks a thousand times with threads that allocate: ${backend}`, async () => {
      const all = { ...options, allocatorBackend: backend, allocatorMem: true, allocatorObj: true };
      const forks = await run([join(root, 'test', 'python', 'forks.py'), '1000'], all);
      assert.equal(forks.stdout, 'failed 0\n');
    });
  }
});
