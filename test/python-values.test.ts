// PythonInterpreter: what values become on their way into Python and out of it.

import assert from 'node:assert/strict';
import { PythonInterpreter, type PythonArgument, type PythonValue } from '../index.js';
import { evaluate, rejects } from './fixtures-ts/tools.js';
import { noPython, python as found } from './support/pythons.js';
import { describe, test } from './support/suite.js';

const options = { python: found?.file ?? '', allocatorBackend: 'mimalloc' } as const;
const start = () => PythonInterpreter.start(options);

describe('values', { skip: noPython }, () => {
  const round = async (value: PythonArgument) => (await start()).call('copy.copy', [value]);

  test('go there and back', async () => {
    const values: PythonValue[] = [
      null,
      true,
      false,
      0,
      -1,
      1.5,
      2 ** 53 - 1,
      -(2 ** 53) + 1,
      1e300,
      5e-324,
      Infinity,
      -Infinity,
      2n ** 53n,
      -(2n ** 63n),
      2n ** 64n - 1n,
      -(2n ** 200n) + 12345n,
      '',
      'ascii',
      'ü€𝄞',
      'a\0b',
      'lone \ud800 surrogate \udc00',
      [],
      [1, [2, [3, []]]],
      {},
      { a: 1, 'b c': { d: [null] }, 1: 'index', ü: 'ü' },
    ];
    for (const value of values) assert.deepEqual(await round(value), value, String(value));
    assert.ok(Number.isNaN(await round(NaN)));
    assert.ok(Object.is(await round(-0), -0));
    const dangerous = JSON.parse('{"__proto__": {"polluted": 1}, "constructor": 2}') as Record<
      string,
      number
    >;
    const back = (await round(dangerous)) as Record<string, unknown>;
    assert.deepEqual(Object.keys(back), ['__proto__', 'constructor']);
    assert.equal((back as { polluted?: number }).polluted, undefined);
  });

  test('are of the type that Python expects', async () => {
    const type = async (value: PythonArgument) => (await start()).call('_test_type', [value]);
    await (await start()).exec('def _test_type(value): return type(value).__name__');
    const expected: [PythonArgument, string][] = [
      [null, 'NoneType'],
      [true, 'bool'],
      [1, 'int'],
      [-0, 'float'],
      [1.5, 'float'],
      [2 ** 53, 'float'],
      [1n, 'int'],
      ['', 'str'],
      [Buffer.from('x'), 'bytes'],
      [new Float64Array(2), 'bytes'],
      [new DataView(new ArrayBuffer(3)), 'bytes'],
      [new ArrayBuffer(3), 'bytes'],
      [new SharedArrayBuffer(3), 'bytes'],
      [[], 'list'],
      [{}, 'dict'],
    ];
    for (const [value, name] of expected) assert.equal(await type(value), name);
  });

  test('of bytes are copies, of any size', async () => {
    const python = await start();
    for (const size of [0, 1, 1000, 65_535, 65_536, 1_000_000, 4 << 20, (4 << 20) + 1, 20_000_000]) {
      const bytes = Buffer.alloc(size);
      for (let at = 0; at < size; at += 997) bytes[at] = at % 251;
      const expected = Buffer.from(bytes);
      const waiting = python.call('bytes', [bytes]);
      // What happens to the buffer after the call is not Python's concern.
      bytes.fill(0xff);
      const back = await waiting;
      assert.ok(Buffer.isBuffer(back));
      assert.ok(expected.equals(back), `${size} bytes`);
      back.fill(1);
      assert.equal(await python.call('sum', [Buffer.from(back.subarray(0, 100))]), Math.min(size, 100));
    }
    const view = new Uint16Array([1, 2, 3, 4]).subarray(1, 3);
    assert.deepEqual(await python.call('list', [view]), [2, 0, 3, 0]);
    assert.deepEqual(await python.call('bytearray', [view]), Buffer.from([2, 0, 3, 0]));
    assert.deepEqual(await python.call('memoryview', [view]), Buffer.from([2, 0, 3, 0]));
    // Memory that Python still refers to is not given away.
    await python.exec('kept = bytes(range(256)) * 1000');
    ((await python.eval('kept')) as Buffer).fill(0);
    assert.equal(await python.eval('kept == bytes(range(256)) * 1000'), true);
  });

  test('of other types are refused, with the place and the type', async () => {
    const python = await start();
    const circular: unknown[] = [];
    circular.push(circular);
    const { port1 } = new MessageChannel();
    const given: [unknown, RegExp][] = [
      [undefined, /argument 0 is undefined/],
      [{ a: [1, undefined] }, /argument 0\.a\[1\] is undefined/],
      [() => 1, /argument 0 is a function/],
      [Symbol('s'), /a symbol/],
      [new Date(), /a Date/],
      [new Map(), /a Map/],
      [{ a: { [Symbol('s')]: 1 } }, /argument 0\.a has a property whose key is a symbol/],
      [
        new (class Own {
          at = 1;
        })(),
        /a Own/,
      ],
      [new Proxy({}, {}), /a Proxy/],
      [Promise.resolve(), /a Promise/],
      [circular, /nested more than 500 deep/],
      [port1, /a MessagePort/],
    ];
    for (const [value, pattern] of given) {
      await rejects(python.call('abs', [value as PythonArgument]), 'ERR_PYTHON_VALUE', pattern);
    }
    port1.close();
    const detached = new Uint8Array(8);
    structuredClone(detached, { transfer: [detached.buffer] });
    await rejects(python.call('len', [detached]), 'ERR_PYTHON_VALUE', /detached/);
    await rejects(
      python.call('dict', [], { a: new Date() } as never),
      'ERR_PYTHON_VALUE',
      /keyword arguments\.a/,
    );
    await rejects(python.eval('object()'), 'ERR_PYTHON_VALUE', /of type object/);
    await rejects(python.eval('[1, {"a": {3}}]'), 'ERR_PYTHON_VALUE', /of type set/);
    await rejects(python.eval('{1: 2}'), 'ERR_PYTHON_VALUE', /a dict with a key of type int/);
    await rejects(python.call('decimal.Decimal', ['1.50']), 'ERR_PYTHON_VALUE', /decimal\.Decimal/);
    await python.exec('deep = []\nfor _ in range(1000): deep = [deep]\nring = []; ring.append(ring)');
    await rejects(python.eval('deep'), 'ERR_PYTHON_VALUE', /nested more than 500 deep/);
    await rejects(python.eval('ring'), 'ERR_PYTHON_VALUE', /nested more than 500 deep/);
    assert.equal(await python.call('decimal.Decimal', ['1.50'], {}, { repr: true }), "Decimal('1.50')");
    assert.deepEqual(await python.eval('{1: {2}}', { repr: true }), { 1: '{2}' });
    // As properties the two would be one.
    assert.equal(await python.eval('{1: "a", "1": "b"}', { repr: true }), "{1: 'a', '1': 'b'}");
  });

  test('that the engine cannot hold are refused, each by itself', async () => {
    const outcome = await evaluate<string[]>(
      `const { constants } = await import('node:buffer');
       const python = await m.PythonInterpreter.start(${JSON.stringify(options)});
       const huge = constants.MAX_LENGTH < 5 * 2 ** 30 ? ['bytes(5 << 30)'] : [];
       const asked = ['1 << (1 << 30)', '"x" * (1 << 29)', '[1, "x" * (1 << 29)]', ...huge];
       const all = await Promise.allSettled(asked.flatMap((code) => [python.eval(code), python.eval('6 * 7')]));
       await python.exec('def fail(): raise ValueError("x" * (1 << 29))');
       all.push(...await Promise.allSettled([python.call('fail'), python.eval('6 * 7')]));
       show(all.map(({ value, reason }) => reason?.code ?? value));`,
    );
    for (let at = 0; at < outcome.length - 2; at += 2)
      assert.deepEqual(outcome.slice(at, at + 2), ['ERR_PYTHON_VALUE', 42], `${at}`);
    assert.deepEqual(outcome.slice(-2), ['ERR_PYTHON_EXCEPTION', 42]);
  });

  test('and options that are none are refused before anything is asked', async () => {
    const python = await start();
    const wrong: [Promise<unknown>, RegExp][] = [
      [python.call('dict', [], [1, 2] as never), /keyword arguments must be a plain object, not \[/],
      [python.call('dict', [], null as never), /keyword arguments must be a plain object, not null/],
      [python.call('dict', [], new Map() as never), /keyword arguments/],
      [python.exec('ran = 1', null as never), /options must be an object, not null/],
      [python.exec('ran = 1', { reprs: true } as object), /unknown option "reprs".*: signal, repr$/],
      [python.exec('ran = 1', { repr: 1 } as never), /repr must be true or false/],
      [python.exec('ran = 1', { signal: {} } as never), /signal must be an AbortSignal/],
      [python.exec('ran = "\ud800"'), /half of a surrogate pair/],
      [python.call('\udc00'), /half of a surrogate pair/],
    ];
    await Promise.all(wrong.map(([work, pattern]) => rejects(work, 'ERR_INVALID_ARGUMENT', pattern)));
    assert.equal(await python.eval('"ran" in globals()'), false);
    // A hole is as undefined as undefined.
    // oxlint-disable-next-line no-sparse-arrays
    const holes = [1, , 3] as never;
    await rejects(python.call('copy.copy', [holes]), 'ERR_PYTHON_VALUE', /argument 0\[1\] is undefined/);
    await rejects(python.call('max', holes), 'ERR_PYTHON_VALUE', /argument 1 is undefined/);
  });

  test('of subclasses come as what they are a kind of', async () => {
    const python = await start();
    await python.exec(
      'import collections, enum\nclass E(enum.IntEnum):\n  A = 3\nP = collections.namedtuple("P", "x y")',
    );
    assert.deepEqual(await python.eval('[E.A, P(1, 2), collections.OrderedDict(a=1), (), (1,)]'), [
      3,
      [1, 2],
      { a: 1 },
      [],
      [1],
    ]);
  });
});
