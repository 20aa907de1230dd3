// Says when requests are due. Node's timers round to whole milliseconds, which is more than many a request takes. A thread that
// sleeps on a futex wakes within a tenth of that, and costs no processor meanwhile.

import { Worker, parentPort, workerData } from 'node:worker_threads';

/** The shortest time between two calls. What becomes due meanwhile is sent together. */
const SHORTEST_MS = 0.25;

/** Where the two threads meet: whether to end, and whether a call is on its way. */
const END = 0;
const CALLED = 1;

interface Pace {
  shared: Int32Array;
  /** Milliseconds of `performance.timeOrigin`'s clock. */
  from: number;
  gapMs: number;
}

/** Calls back when a request is due: every `gapMs` from `from` on, a moment of `performance.now()`. */
export function pace(from: number, gapMs: number, due: () => void): { end: () => Promise<unknown> } {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const data: Pace = { shared, from: performance.timeOrigin + from, gapMs: Math.max(SHORTEST_MS, gapMs) };
  const worker = new Worker(__filename, { workerData: data, execArgv: [] });
  worker.on('message', () => {
    // Before the call: what becomes due from now on needs another one.
    Atomics.store(shared, CALLED, 0);
    due();
  });
  const end = (): Promise<unknown> => {
    Atomics.store(shared, END, 1);
    Atomics.notify(shared, END);
    return worker.terminate();
  };
  return { end };
}

function call({ shared, from, gapMs }: Pace): void {
  const start = from - performance.timeOrigin;
  for (;;) {
    const now = performance.now();
    const next = start + Math.max(0, Math.floor((now - start) / gapMs) + 1) * gapMs;
    if (Atomics.wait(shared, END, 0, next - now) !== 'timed-out') return;
    // A loop that is behind gets one call, not a queue of them.
    if (Atomics.exchange(shared, CALLED, 1) === 0) parentPort!.postMessage(null);
  }
}

// This file is also the thread's.
if (parentPort !== null && isPace(workerData)) call(workerData);

function isPace(data: unknown): data is Pace {
  return typeof data === 'object' && data !== null && 'gapMs' in data && 'shared' in data;
}
