// Takes 1 GiB in buffers of 1 KiB to 1 MiB, drops them, and does nothing until its input ends. Prints "freed <pid> <RSS at the
// peak in KiB>". A collection (`node --expose-gc`) comes before that: what V8 has not freed yet no allocator can give back.
import { generator } from './idle.js';

const below = generator();

function spike(): number {
  const live: Buffer[] = [];
  for (let bytes = 2 ** 30; bytes > 0; bytes -= live.at(-1)!.length)
    live.push(Buffer.allocUnsafeSlow(Math.floor(1024 * 2 ** (below(1000) / 100))).fill(1));
  return process.memoryUsage.rss();
}

const peak = spike();
globalThis.gc?.();
console.log(`freed ${process.pid} ${Math.round(peak / 1024)}`);
process.stdin.resume();
