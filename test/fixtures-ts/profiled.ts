// A process that listens for a profiler. The profiles are not made, but the same each time: of what matters here is who gets
// them, and when. With `running`, the program has started a profile itself. With `ends`, nothing else keeps it alive.

import { gzipSync } from 'node:zlib';
import { Captures, type Profiler } from '../../src/profile/live/captures.js';
import { listenAt } from '../../src/profile/live/server.js';

/** A sample type, and nothing else: a profile that is as small as one can be. */
const EMPTY = gzipSync(
  Uint8Array.from([0x0a, 0x04, 0x08, 0x01, 0x10, 0x02, 0x32, 0, 0x32, 1, 0x78, 0x32, 1, 0x79]),
);

const words = process.argv.slice(2);
let isRunning = words.includes('running');
const tell = (what: string) => console.log(what);
const profiler: Profiler = {
  get isRunning() {
    return isRunning;
  },
  start(interval) {
    if (words.includes('broken'))
      throw Object.assign(new Error('it is broken'), { code: 'ERR_CANNOT_SWITCH' });
    isRunning = true;
    tell(interval === undefined ? 'start' : `start ${interval}`);
  },
  async snapshot() {
    tell('snapshot');
    return EMPTY;
  },
  async mark() {
    tell('mark');
    return async () => {
      tell('change');
      return EMPTY;
    };
  },
  async stop() {
    isRunning = false;
    tell('stop');
    return EMPTY;
  },
};

async function main(): Promise<void> {
  const { path, close } = await listenAt(new Captures(profiler));
  tell(`listens ${path}`);
  if (words.includes('ends')) return;
  process.stdin.on('data', (text) => {
    if (String(text).includes('close')) void close().then(() => tell('closed'));
  });
  process.stdin.on('end', () => process.exit());
}

main().catch((error: Error & { code?: string }) => {
  tell(`${error.code} ${error.message}`);
  process.exitCode = 1;
});
