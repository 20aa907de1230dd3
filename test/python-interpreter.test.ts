// PythonInterpreter: calls, errors, order, threads, signals. One interpreter serves this whole file.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { PythonError, PythonInterpreter } from '../index.js';
import { evaluate, index, rejects, scratch, until, watched } from './fixtures-ts/tools.js';
import { noPython, python as found } from './support/pythons.js';
import { run } from './support/run.js';
import { root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const options = {
  python: found?.file ?? '',
  allocatorBackend: 'mimalloc',
  allocatorMem: true,
  allocatorObj: true,
} as const;
const start = () => PythonInterpreter.start(options);

/** Sets a table over that of the raw domain, as a profiler would: the same functions, which do not look at the context. */
const FOREIGN = `
import ctypes
tracemalloc.stop()
ours = (ctypes.c_void_p * 5)()
ctypes.pythonapi.PyMem_GetAllocator(0, ctypes.byref(ours))
foreign = (ctypes.c_void_p * 5)(ctypes.addressof(ours), *ours[1:])
ctypes.pythonapi.PyMem_SetAllocator(0, ctypes.byref(foreign))
`;

describe('calls', { skip: noPython }, () => {
  test('find functions by their names', async () => {
    const python = await start();
    await python.exec(
      'def twice(x, *, plus=0): return 2 * x + plus\nclass Own:\n  @staticmethod\n  def method(): return "static"',
    );
    assert.equal(await python.call('twice', [4], { plus: 1 }), 9);
    assert.equal(await python.call('Own.method'), 'static');
    assert.equal(await python.call('len', ['four']), 4);
    assert.equal(await python.call('os.path.join', ['a', 'b']), 'a/b');
    assert.equal(
      await python
        .call('xml.dom.minidom.parseString', ['<a/>'], {}, { repr: true })
        .then((text) => /Document/.test(String(text))),
      true,
    );
    await rejects(
      python.call('nothing'),
      'ERR_PYTHON_EXCEPTION',
      /^NameError: name 'nothing' is not defined/,
    );
    await rejects(
      python.call('nothing.at_all'),
      'ERR_PYTHON_EXCEPTION',
      /ModuleNotFoundError: No module named 'nothing'/,
    );
    await rejects(
      python.call('os.nothing'),
      'ERR_PYTHON_EXCEPTION',
      /AttributeError: .*os.* has no attribute 'nothing'/,
    );
    await rejects(
      python.call('"\u{1f600}'),
      'ERR_PYTHON_EXCEPTION',
      /^NameError: name '"\u{1f600}' is not defined/u,
    );
    await rejects(python.call('os.path.nothing.more'), 'ERR_PYTHON_EXCEPTION', /^AttributeError/);
    await rejects(python.call('Own.nothing'), 'ERR_PYTHON_EXCEPTION', /^AttributeError/);
    // What a module itself does not find is what went wrong.
    await python.exec(`import sys; sys.path.insert(0, ${JSON.stringify(join(root, 'test', 'python'))})`);
    await rejects(python.call('package.broken.f'), 'ERR_PYTHON_EXCEPTION', /ModuleNotFoundError.*not_there/);
    await rejects(python.call(''), 'ERR_PYTHON_EXCEPTION');
    await rejects(python.call('a b'), 'ERR_PYTHON_EXCEPTION');
    await rejects(python.call('a\0b'), 'ERR_PYTHON_EXCEPTION');
    await rejects(python.call('len', [1, 2]), 'ERR_PYTHON_EXCEPTION', /TypeError/);
    await rejects(python.call(3 as never), 'ERR_INVALID_ARGUMENT');
    await rejects(python.call('len', {} as never), 'ERR_INVALID_ARGUMENT');
  });

  test('give exceptions with type, message and traceback', async () => {
    const python = await start();
    await python.exec('class Own(ValueError): pass\ndef fail(): raise Own("für dich")');
    const error = await rejects(python.call('fail'), 'ERR_PYTHON_EXCEPTION', /^Own: für dich$/);
    assert.ok(error instanceof PythonError);
    assert.equal(error.type, 'Own');
    assert.match(error.traceback, /^Traceback .*\n {2}File "<exec>", line 2, in fail\n[^]*Own: für dich\n$/);
    await rejects(python.eval('1 +'), 'ERR_PYTHON_EXCEPTION', /^SyntaxError/);
    await rejects(python.eval('x\0'), 'ERR_PYTHON_EXCEPTION');
    // A string has no encoding to declare.
    await python.exec('# -*- coding: latin-1 -*-\ndeclared = "ü€"');
    assert.equal(await python.eval('declared'), 'ü€');
    // Neither ends the process.
    await rejects(python.exec('import sys; sys.exit(3)'), 'ERR_PYTHON_EXCEPTION', /^SystemExit: 3/);
    await rejects(python.exec('raise KeyboardInterrupt'), 'ERR_PYTHON_EXCEPTION', /^KeyboardInterrupt/);
    await python.exec(
      'class Bad(Exception):\n  def __str__(self): raise RuntimeError("no")\ndef bad(): raise Bad',
    );
    const bad = await rejects(python.call('bad'), 'ERR_PYTHON_EXCEPTION', /^Bad$/);
    assert.match(
      (bad as PythonError).traceback,
      /in bad\nBad: <exception str\(\) failed>|in bad\n.*Bad: <.*>/,
    );
  });

  test('ten thousand at once come back in order, and right', async () => {
    const python = await start();
    await python.exec('order = []\ndef note(n, text):\n  order.append(n)\n  return text * 2');
    const seen: number[] = [];
    const calls = Array.from({ length: 10_000 }, async (_, n) => {
      assert.equal(await python.call('note', [n, `t${n}`]), `t${n}t${n}`);
      seen.push(n);
    });
    await Promise.all(calls);
    const inOrder = Array.from({ length: 10_000 }, (_, n) => n);
    assert.deepEqual(seen, inOrder);
    assert.deepEqual(await python.eval('order'), inOrder);
  });

  test('come from workers too, which may end in the middle of it', async () => {
    const code = `
      import { parentPort, workerData } from 'node:worker_threads';
      const { PythonInterpreter } = await import(workerData.index);
      const python = await PythonInterpreter.start(workerData.options);
      if (workerData.endless) {
        void python.call('time.sleep', [0.01]);
        parentPort.postMessage('begun');
        for (;;) await python.call('len', ['x'.repeat(1000)]);
      }
      let sum = 0;
      for (let n = 0; n < 500; n++) sum += await python.call('operator.add', [n, 1]);
      parentPort.postMessage(sum);`;
    const worker = (endless: boolean) =>
      new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), {
        workerData: { index, options, endless },
      });
    const python = await start();
    const sums = [1, 2, 3].map(async () => ((await once(worker(false), 'message')) as [number])[0]);
    const own = Promise.all(Array.from({ length: 500 }, (_, n) => python.call('operator.neg', [n])));
    assert.deepEqual(await Promise.all(sums), [125250, 125250, 125250]);
    assert.equal((await own).at(-1), -499);
    for (let n = 0; n < 10; n++) {
      const endless = worker(true);
      await once(endless, 'message');
      await endless.terminate();
    }
    assert.equal(await python.eval('6 * 7'), 42);
  });

  test('stop at a signal: before, while they wait, and while they run', async () => {
    const python = await start();
    const reason = new Error('enough');
    const early = await rejects(python.eval('1', { signal: AbortSignal.abort(reason) }), 'ERR_ABORTED');
    assert.equal(early.cause, reason);
    const begun = scratch('begun');
    await python.exec(`begun = ${JSON.stringify(begun)}`);
    await python.exec('ran = []\nended = []');
    const running = new AbortController();
    const loop = python.exec(
      'try:\n  open(begun, "w").close()\n  while True: pass\nexcept KeyboardInterrupt:\n  ended.append("interrupted")',
      { signal: running.signal },
    );
    await until('its begin', () => existsSync(begun));
    const waiting = new AbortController();
    const waits = python.exec('ran.append(1)', { signal: waiting.signal });
    waiting.abort(reason);
    assert.equal((await rejects(waits, 'ERR_ABORTED')).cause, reason);
    running.abort();
    await rejects(loop, 'ERR_ABORTED');
    // The interpreter is free again, and whole: neither the interruption nor what was called off comes later.
    assert.deepEqual(await python.eval('[ran, ended]'), [[], ['interrupted']]);
    for (let n = 0; n < 200; n++) {
      const controller = new AbortController();
      const call = python.eval('sum(range(1000))', { signal: controller.signal }).catch(() => 'aborted');
      if (n % 2 === 0) await new Promise(setImmediate);
      controller.abort();
      await call;
      assert.equal(await python.eval('sum(range(100))'), 4950);
    }
  });

  test('leave memory as it was, a million of them', async () => {
    const { first, last } = await evaluate<{ first: number; last: number }>(
      `const python = await m.PythonInterpreter.start(${JSON.stringify(options)});
       const round = async (count) => {
         for (let n = 0; n < count; n += 1000) {
           await Promise.all(Array.from({ length: 1000 }, (_, i) => python.call('len', ['some text ' + i])));
         }
       };
       await round(100000);
       const first = process.memoryUsage.rss();
       await round(900000);
       show({ first, last: process.memoryUsage.rss() });`,
    );
    // Within what V8's heap may vary by; a leak of 32 bytes for each call would be 27 MiB.
    assert.ok(last - first < 24 << 20, `${first} to ${last} bytes`);
  });

  test('take 256 MiB in and out with at most three times that resident', async () => {
    const peak = await evaluate<number>(
      `const python = await m.PythonInterpreter.start(${JSON.stringify(options)});
       const size = 256 << 20;
       const back = await python.call('bytes', [Buffer.alloc(size, 7)]);
       if (back.length !== size || back[size - 1] !== 7) throw new Error('not the same');
       show(process.resourceUsage().maxRSS * 1024);`,
    );
    assert.ok(peak <= 3 * (256 << 20), `${peak} bytes`);
  });
});

describe('the interpreter', { skip: noPython }, () => {
  test('is one for the same options, and refuses others', async () => {
    const python = await start();
    assert.equal(await start(), python);
    const [one, two] = await Promise.all([start(), start()]);
    assert.equal(one, two);
    await rejects(PythonInterpreter.start({ ...options, allocatorObj: false }), 'ERR_PYTHON_RUNNING');
    await rejects(PythonInterpreter.start({ ...options, env: { OTHER: '1' } }), 'ERR_PYTHON_RUNNING');
    assert.equal(process.env['OTHER'], undefined);
    assert.equal(await python.eval('1'), 1);
  });

  test('proves whose its domains are', async () => {
    const python = await start();
    const { domains, executable } = python.info();
    assert.deepEqual(
      Object.values(domains).map((domain) => domain?.backend),
      ['mimalloc', 'mimalloc', 'mimalloc', undefined],
    );
    assert.equal(executable, await python.eval('__import__("sys").executable'));
    assert.equal(python.stats(), undefined);
  });

  test('proves it beneath tracemalloc and the debug hooks, and says what it cannot tell', async () => {
    for (const debug of [false, true]) {
      const seen = await evaluate<string[][]>(
        `const options = { ...${JSON.stringify(options)}, allocatorDebug: ${debug} };
         const python = await m.PythonInterpreter.start({ ...options, env: { PYTHONTRACEMALLOC: '1' } });
         const served = () => Object.values(python.info().domains).map((each) => each?.backend).concat(python.info().debug);
         const all = [served()];
         await python.exec('import tracemalloc; tracemalloc.stop()');
         all.push(served());
         await python.exec('tracemalloc.start()');
         all.push(served());
         if (options.allocatorDebug) show(all);
         else {
           await python.exec(${JSON.stringify(FOREIGN)});
           show([...all, served()]);
         }`,
      );
      const told = ['mimalloc', 'mimalloc', 'mimalloc', null, debug];
      const foreign = ['unknown', ...told.slice(1)];
      assert.deepEqual(seen, debug ? [told, told, told] : [told, told, told, foreign]);
    }
  });

  test('can be isolated, of a virtual environment, bound deeply, with variables set', async () => {
    const seen = await evaluate<unknown[]>(
      `const python = await m.PythonInterpreter.start({ python: ${JSON.stringify(options.python)}, isolated: true, deepBind: true, env: { OWN: 'value' } });
       await python.exec('import os, sys, ssl, sqlite3, hashlib');
       show(await python.eval('[sys.flags.isolated, sys.getdlopenflags() & os.RTLD_DEEPBIND > 0, os.environ["OWN"], ssl.OPENSSL_VERSION]'));`,
    );
    const plain = await run(options.python, ['-c', 'import ssl; print(ssl.OPENSSL_VERSION, end="")']);
    assert.deepEqual(seen, [1, true, 'value', plain.stdout]);
  });

  test('writes what it has printed when the process exits, however it does', async () => {
    for (const end of ['', 'process.exit(3)', 'setImmediate(() => { throw new Error("thrown") })']) {
      const { stdout, stderr } = await run(process.execPath, [
        '--input-type=module',
        '-e',
        `const { PythonInterpreter } = await import(${JSON.stringify(index)});
         const python = await PythonInterpreter.start(${JSON.stringify(options)});
         await python.exec('import sys; print("out", end=""); sys.stderr.write("err")');
         ${end}`,
      ]);
      assert.equal(stdout, 'out');
      assert.match(stderr, /^err/);
    }
  });

  test('does not keep a process from its end, nor from SIGINT, though it computes', async () => {
    const code = (then: string) => `
      const { PythonInterpreter } = await import(${JSON.stringify(index)});
      const python = await PythonInterpreter.start(${JSON.stringify(options)});
      void python.exec('print("begun", flush=True)\\nwhile True: pass').catch(() => {});
      ${then}`;
    const exited = await run(process.execPath, [
      '--input-type=module',
      '-e',
      code('process.stdout.write(""); setTimeout(() => process.exit(4), 50)'),
    ]);
    assert.equal(exited.code, 4);
    const child = watched(
      spawn(process.execPath, ['--input-type=module', '-e', code('')], {
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    );
    await once(child.stdout ?? assert.fail(), 'data');
    child.kill('SIGINT');
    assert.deepEqual(await once(child, 'exit'), [null, 'SIGINT']);
  });

  test('leaves SIGINT alone, also where its disposition is the default', async () => {
    const code = `
      const { PythonInterpreter } = await import(${JSON.stringify(index)});
      const noop = () => {};
      process.on('SIGINT', noop);
      process.off('SIGINT', noop);
      const python = await PythonInterpreter.start(${JSON.stringify(options)});
      await python.exec('import signal, subprocess; print("begun", flush=True)');
      setInterval(noop, 1000);`;
    const child = watched(
      spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] }),
    );
    await once(child.stdout ?? assert.fail(), 'data');
    child.kill('SIGINT');
    assert.deepEqual(await once(child, 'exit'), [null, 'SIGINT']);
  });

  test('gives a forked child the status that Python would', async () => {
    const python = await start();
    const statuses: [string, number, RegExp][] = [
      ['sys.exit()', 0, /^$/],
      ['sys.exit(3)', 3, /^$/],
      ['sys.exit(True)', 1, /^$/],
      ['sys.exit("für dich")', 1, /^für dich\n$/],
      ['raise ValueError("no")', 1, /^Traceback [^]*in child\n[^]*ValueError: no\n$/],
      ['return', 0, /^$/],
    ];
    await python.exec(readFileSync(join(root, 'test', 'python', 'children.py'), 'utf8'));
    for (const [statement, code, said] of statuses) {
      await python.exec(`def child():\n  ${statement}`);
      const [status, stderr] = (await python.call('in_fork')) as [number, string];
      assert.equal(status, code, statement);
      assert.match(stderr, said, statement);
    }
    // The last thread of the child ends, and with it the process.
    assert.deepEqual(await python.call('in_thread'), 0);
  });
});
