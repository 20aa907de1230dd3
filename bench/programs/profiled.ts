// What a heap profile costs this process: the same work in blocks, with a profile that runs and without, in turn.
//
//   node --expose-gc profiled.js <work> <pairs of blocks> <units in a block>
//
// Prints the CPU time of each pair in microseconds: [without, with]. With `memory` and `snapshot` it prints what its table needs.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Server, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { heapProfile, memory } from '../../index.js';

const [, , work = '', pairs = '10', units = '100', port] = process.argv;

interface Work {
  block(units: number): Promise<void> | void;
  end?(): void;
}

let last: unknown;

/** Allocates Buffers of that size, one after another. Nothing uses them. */
function buffers(bytes: number): Work {
  return {
    block(count) {
      for (let index = 0; index < count; index++) last = Buffer.allocUnsafeSlow(bytes);
    },
  };
}

/** Allocates Buffers of 1 KiB to 1 MiB. The last few hundred stay in use. */
function mixed(): Work {
  const live: Buffer[] = [];
  let state = 1;
  const next = () => (state = Math.imul(state, 1_103_515_245) + 12_345) >>> 1;
  return {
    block(count) {
      for (let index = 0; index < count; index++)
        live[next() % 400] = Buffer.allocUnsafeSlow(Math.floor(1024 * 2 ** ((next() % 1000) / 100)));
    },
  };
}

const document = JSON.stringify(
  Array.from({ length: 200 }, (_, id) => ({
    id,
    name: `customer ${id}`,
    tags: ['a', 'b'],
    total: id * 1.07,
  })),
);

/** Each request parses a document, and answers with a part of it. The client is another process. */
async function service(): Promise<Work> {
  const server: Server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const rows = JSON.parse(Buffer.concat(chunks).toString()) as { id: number }[];
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(rows.filter(({ id }) => id % 3 === 0)));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  const client: ChildProcess = spawn(
    process.execPath,
    [import.meta.filename, 'client', '0', '0', String(address.port)],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  return {
    async block(count) {
      client.stdin!.write(`${count}\n`);
      await once(client.stdout!, 'data');
    },
    end() {
      client.kill();
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Sends as many requests as it is told, ten at a time. */
async function client(): Promise<void> {
  const post = () =>
    new Promise<void>((resolve, reject) => {
      const asked = request({ port, host: '127.0.0.1', method: 'POST' }, (response) => {
        response.resume().on('end', resolve);
      });
      asked.on('error', reject).end(document);
    });
  process.stdin.on('data', (text) => {
    let left = Number(String(text));
    const lane = async () => {
      while (left-- > 0) await post();
    };
    void Promise.all(Array.from({ length: 10 }, lane)).then(() => console.log('done'));
  });
  await once(process.stdin, 'end');
}

/** Each unit makes a picture of 1200 × 800, and a smaller one of it. */
async function pictures(): Promise<Work> {
  const { default: sharp } = await import('sharp');
  const create = { width: 1200, height: 800, channels: 3, background: { r: 90, g: 120, b: 200 } } as const;
  const photo = await sharp({ create }).jpeg().toBuffer();
  return {
    async block(count) {
      for (let index = 0; index < count; index++)
        last = await sharp(photo).resize({ width: 300 }).jpeg({ quality: 80 }).toBuffer();
    },
  };
}

const WORKS: Record<string, () => Promise<Work> | Work> = {
  service,
  pictures,
  mixed,
  small: () => buffers(1000),
  large: () => buffers(2 ** 20),
};

async function cost(block: () => Promise<void> | void): Promise<number> {
  globalThis.gc?.();
  const before = process.cpuUsage();
  await block();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

async function compare({ block, end }: Work): Promise<void> {
  const count = Number(units);
  for (let warm = 0; warm < 3; warm++) await block(count);
  const results: [number, number][] = [];
  for (let pair = 0; pair < Number(pairs); pair++) {
    const without = () => cost(() => block(count));
    const withProfile = async () => {
      heapProfile.start();
      const result = await cost(() => block(count));
      await heapProfile.stop();
      return result;
    };
    if (pair % 2 === 0) results.push([await without(), await withProfile()]);
    else {
      const result = await withProfile();
      results.push([await without(), result]);
    }
  }
  end?.();
  console.log(JSON.stringify(results));
}

/** So many blocks, nearly each of which is sampled. */
const SAMPLES = 100_000;
const kept: ArrayBuffer[] = [];

function fill(): void {
  const depth = (left: number, bytes: number): ArrayBuffer =>
    left === 0 ? new ArrayBuffer(bytes) : depth(left - 1, bytes);
  for (let index = 0; index < SAMPLES; index++) kept.push(depth(index % 20, 512));
}

/** What the process has in memory with so many samples more than without: `with` or `without`. */
async function footprint(): Promise<void> {
  // At this interval nearly each block of 512 bytes is a sample.
  if (pairs === 'with') heapProfile.start({ interval: 64, maxSamples: 200_000 });
  else if (pairs !== 'without') throw new Error(`"with" or "without", not ${pairs}`);
  globalThis.gc?.();
  const before = (await memory()).rss;
  fill();
  globalThis.gc?.();
  const { rss } = await memory();
  const state = heapProfile.state();
  console.log(JSON.stringify({ bytes: rss - before, live: state.running ? state.live : 0 }));
}

/** The longest turn of the event loop while snapshots are made, and while nothing happens, in milliseconds. */
async function snapshots(): Promise<void> {
  heapProfile.start({ interval: 64, maxSamples: 200_000 });
  fill();
  globalThis.gc?.();
  const longest = async (during: () => Promise<unknown>): Promise<number> => {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const end = performance.now() + 20;
    do await during();
    while (performance.now() < end);
    delay.disable();
    return delay.max / 1e6;
  };
  const results: [number, number][] = [];
  for (let index = 0; index < Number(units); index++)
    results.push([await longest(() => sleep(10)), await longest(() => heapProfile.snapshot())]);
  const state = heapProfile.state();
  console.log(JSON.stringify({ results, live: state.running ? state.live : 0 }));
}

if (work === 'client') await client();
else if (work === 'memory') await footprint();
else if (work === 'snapshot') await snapshots();
else if (Object.hasOwn(WORKS, work)) await compare(await WORKS[work]!());
else
  throw new Error(`no work of the name ${JSON.stringify(work)}; there are ${Object.keys(WORKS).join(', ')}`);
process.exit(typeof last === 'symbol' ? 1 : 0);
