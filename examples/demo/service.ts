/**
 * A service in small: workers read files, compress them and unpack them again, parse and hash, and keep the newest
 * results in a cache, while the main thread does the same with what they send.
 *
 * Its last line is what it used, for `main.ts`.
 */

import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { brotliDecompressSync, brotliCompressSync, constants, gunzipSync, gzipSync } from 'node:zlib';

const WORKERS = 4;
const ROUNDS = 10;
const CACHED = 64;
/** Files of many sizes, the largest of them cut, so that a round takes a moment. */
const LARGEST = 1 << 20;
const MOST = 240;

/** The largest text files below the folder, the same ones in the same order at every run. */
function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|js|mjs|cjs|json|md)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((file) => ({ file, size: statSync(file).size }))
    .sort((one, other) => other.size - one.size)
    .slice(0, MOST)
    .map(({ file }) => file);
}

function work(files: string[], worker: number): string {
  const cache: Buffer[] = [];
  const hash = createHash('sha256');
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, file] of files.entries()) {
      if (index % WORKERS !== worker) continue;
      const content = readFileSync(file).subarray(0, LARGEST);
      const packed = gzipSync(content, { level: 1 });
      const unpacked = gunzipSync(packed);
      if (!unpacked.equals(content)) throw new Error(`${file} did not survive`);
      const small = brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
      hash.update(brotliDecompressSync(small));
      // The cache replaces old entries by new ones of another size: what fragments a heap.
      cache[(index * 7 + round) % CACHED] = Buffer.concat([unpacked, packed, small]);
      for (const word of content.toString('latin1').split(/\W+/, 2000))
        if (word.length > 30) hash.update(word);
    }
  }
  for (const entry of cache) if (entry !== undefined) hash.update(entry);
  return hash.digest('hex');
}

if (isMainThread) {
  const files = sources(process.argv[2] ?? '.');
  const results = await Promise.all(
    Array.from(
      { length: WORKERS },
      (_, worker) =>
        new Promise<string>((resolve, reject) => {
          const thread = new Worker(new URL(import.meta.url), { workerData: { files, worker } });
          thread.once('message', resolve);
          thread.once('error', reject);
        }),
    ),
  );
  const { user, system } = process.cpuUsage();
  const status = readFileSync('/proc/self/status', 'utf8');
  const peak = Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1]) * 1024;
  const result = createHash('sha256').update(results.join()).digest('hex');
  console.log(JSON.stringify({ result, cpuSeconds: (user + system) / 1e6, peakRssBytes: peak }));
} else {
  const { files, worker } = workerData as { files: string[]; worker: number };
  parentPort!.postMessage(work(files, worker));
}
