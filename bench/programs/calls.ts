/**
 * `calls WHAT PYTHON [MODULE]`: one figure of calls into Python, as a line of JSON. With MODULE, the folder of
 * node-calls-python, through that; else through this package.
 */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { PythonInterpreter } from '../../index.js';

const CODE = `
def add(a, b):
    return a + b

def same(data):
    return data

def compute(seconds):
    import time
    end, turns = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        turns += sum(range(1000)) & 1
    return turns
`;

type Call = (name: 'add' | 'same' | 'compute', ...args: (number | Buffer)[]) => Promise<unknown>;

interface NodeCallsPython {
  interpreter: {
    import(file: string): Promise<object>;
    call(module: object, name: string, ...args: unknown[]): Promise<unknown>;
  };
}

async function ours(python: string): Promise<Call> {
  const interpreter = await PythonInterpreter.start({ python, isolated: true });
  await interpreter.exec(CODE);
  return (name, ...args) => interpreter.call(name, args);
}

async function theirs(folder: string): Promise<Call> {
  const { interpreter } = createRequire(import.meta.url)(folder) as NodeCallsPython;
  const file = join(tmpdir(), `malloc-backend-calls-${process.pid}.py`);
  writeFileSync(file, CODE);
  const module = await interpreter.import(file);
  return (name, ...args) => interpreter.call(module, name, ...args);
}

const [what, python = 'python3', folder] = process.argv.slice(2);
const call = folder === undefined ? await ours(python) : await theirs(folder);
const expect = (value: unknown, expected: number): void => {
  if (value !== expected) throw new Error(`${String(value)} is not ${expected}`);
};

async function sequential(count: number): Promise<void> {
  for (let number = 0; number < count; number++) expect(await call('add', number, 1), number + 1);
}

async function concurrent(count: number): Promise<void> {
  const all = Array.from({ length: count }, (_, number) => call('add', number, 1));
  for (const [number, value] of (await Promise.all(all)).entries()) expect(value, number + 1);
}

/** Microseconds of each of `repeats`, per call. */
async function timed(repeats: number, calls: number, action: () => Promise<void>): Promise<number[]> {
  await action();
  const result: number[] = [];
  for (let repeat = 0; repeat < repeats; repeat++) {
    const start = performance.now();
    await action();
    result.push(((performance.now() - start) * 1000) / calls);
  }
  return result;
}

async function delay(): Promise<number> {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  await new Promise((resolve) => setTimeout(resolve, 100));
  histogram.enable();
  const pending = call('compute', 2);
  await pending;
  histogram.disable();
  return histogram.max / 1e6;
}

/** RSS in KiB at the end of each tenth of as many calls, 100 at a time. */
async function rss(count: number): Promise<number[]> {
  const result: number[] = [];
  for (let tenth = 0; tenth < 10; tenth++) {
    for (let done = 0; done < count / 10; done += 100) await concurrent(100);
    result.push(process.memoryUsage.rss() / 1024);
  }
  return result;
}

async function buffer(): Promise<{ beforeKb: number; same: boolean }> {
  const data = Buffer.alloc(256 << 20, 7);
  const beforeKb = process.memoryUsage.rss() / 1024;
  const back = (await call('same', data)) as Buffer;
  return { beforeKb, same: back.length === data.length && data.equals(back) };
}

const figures: Record<string, () => Promise<unknown>> = {
  sequential: () => timed(15, 1000, () => sequential(1000)),
  concurrent: () => timed(15, 1000, () => concurrent(1000)),
  delay,
  buffer,
  rss: () => rss(Number(process.env['BENCH_CALLS'] ?? 1_000_000)),
};
console.log(JSON.stringify(await figures[what ?? '']!()));
// (node-calls-python keeps the event loop alive.)
process.exit();
