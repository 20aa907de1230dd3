// Leaks known amounts in known places while a heap profile runs, and writes the profile to a file.
//
//   node leaks.js <profile> <interval> <addon or -> <leak> …

import { createSecretKey, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { createDeflate, deflateSync } from 'node:zlib';
import { heapProfile } from '../../index.js';

const MIB = 2 ** 20;
const [, , output = '', interval = '', addon = '-', ...names] = process.argv;
const kept: unknown[] = [];

interface Leaks {
  leak(bytes: number): void;
  queueLeak(bytes: number): void;
}
const native = addon === '-' ? undefined : (createRequire(import.meta.url)(addon) as Leaks);

/** Calls the function so often that it leaks so much. */
function times(bytes: number, each: number, leak: (bytes: number) => void): number {
  const count = Math.round(bytes / each);
  for (let index = 0; index < count; index++) leak(each);
  return count * each;
}

function leakBuffer(bytes: number): void {
  kept.push(Buffer.alloc(bytes, 1));
}

function leakArrayBuffer(bytes: number): void {
  kept.push(new ArrayBuffer(bytes));
}

/** Small blocks. */
function leakSmall(bytes: number): void {
  kept.push(new ArrayBuffer(bytes));
}

function leakKey(bytes: number): void {
  kept.push(createSecretKey(Buffer.allocUnsafe(bytes)));
}

const noise = randomBytes(100_000);
/** What zlib makes of noise has a few bytes more. */
function leakDeflated(): number {
  const deflated = deflateSync(noise);
  kept.push(deflated);
  return deflated.length;
}

/** zlib's contexts, which threads of the pool make. Each has more than 200 KiB. */
function leakDeflate(): void {
  const deflate = createDeflate();
  deflate.write('x');
  kept.push(deflate);
}

class Cache {
  #entries: Buffer[] = [];
  leakInMethod(bytes: number): void {
    this.#entries.push(Buffer.allocUnsafeSlow(bytes));
    kept.push(this.#entries);
  }
}

function leakInAddon(bytes: number): void {
  native?.leak(bytes);
}

function queueLeakInAddon(bytes: number): void {
  native?.queueLeak(bytes);
}

// The compiler puts both into their caller.
let last: Buffer | undefined;
function leakInlined(bytes: number): number {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  if (kept.length < 1e6) kept.push(buffer);
  last = buffer;
  return buffer.length;
}
function middleInlined(bytes: number): number {
  return leakInlined(bytes) + 1;
}
function hotLoop(count: number, bytes: number): number {
  let sum = 0;
  for (let index = 0; index < count; index++) sum += middleInlined(bytes);
  return sum;
}

/** What is freed again. */
function churn(bytes: number): void {
  last = Buffer.alloc(bytes, 1);
}

const LEAKS: Record<string, () => number | Promise<number>> = {
  buffer: () => times(32 * MIB, 100_000, leakBuffer),
  arrayBuffer: () => times(32 * MIB, 70_000, leakArrayBuffer),
  small: () => times(8 * MIB, 256, leakSmall),
  key: () => times(16 * MIB, 100_000, leakKey),
  deflated: () => Array.from({ length: 320 }, leakDeflated).reduce((sum, bytes) => sum + bytes),
  async deflate() {
    const count = times(100, 1, leakDeflate);
    await new Promise((resolve) => setTimeout(resolve, 500));
    return count;
  },
  method: () => times(32 * MIB, 50_000, (bytes) => new Cache().leakInMethod(bytes)),
  addon: () => times(32 * MIB, 100_000, leakInAddon),
  async queued() {
    const bytes = times(32 * MIB, 100_000, queueLeakInAddon);
    // The pool has four threads, and each of these waits for one.
    for (let turn = 0; turn < 50; turn++) await setImmediate();
    await new Promise((resolve) => setTimeout(resolve, 500));
    return bytes;
  },
  inlined: () => hotLoop(6710, 5000) - 6710,
  async worker() {
    const worker = new Worker(import.meta.filename, { workerData: 'leak' });
    const bytes = await new Promise<number>((resolve) => worker.once('message', resolve));
    kept.push(worker);
    return bytes;
  },
  /** Of address space: nothing is written to it. */
  large: () => times(512 * MIB, MIB, (bytes) => leakLarge(bytes)),
};

function leakLarge(bytes: number): void {
  kept.push(Buffer.allocUnsafeSlow(bytes));
}

function leakInWorker(bytes: number): void {
  kept.push(Buffer.alloc(bytes, 1));
}

if (isMainThread) {
  if (names.includes('inlined')) {
    // Until it is compiled. What it keeps here was allocated before the start.
    for (let round = 0; round < 60; round++) {
      hotLoop(1000, 50);
      await setImmediate();
    }
    kept.length = 0;
  }
  heapProfile.start({ interval: Number(interval) });
  const bytes: Record<string, number> = {};
  for (const name of names) bytes[name] = await LEAKS[name]!();
  for (let index = 0; index < 5000; index++) churn(5000);
  // V8 frees buffers on another thread.
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const state = heapProfile.state();
  writeFileSync(output, await heapProfile.stop());
  console.log(JSON.stringify({ bytes, state, last: last?.length }));
  process.exit();
} else if (workerData === 'leak') {
  parentPort!.postMessage(times(32 * MIB, 100_000, leakInWorker));
  setInterval(() => kept.length, 1000);
}
