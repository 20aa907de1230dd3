// A server of map tiles with a cache within a limit: npm run build && node dist/examples/tile-cache.js [backend]
//
// The tiles lie outside of V8's heap, so the collector has nothing to do with them. One that is evicted is gone that
// moment, unless a response still sends it: then when that has ended. The limit holds whoever else allocates from
// `memory`.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type ServerResponse, createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { finished } from 'node:stream/promises';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { type AllocatedBuffer, Allocator, MallocBackendError, parseBackend } from '../index.js';

const MIB = 2 ** 20;

class TileCache {
  /** Least recently used first. */
  readonly #tiles = new Map<string, AllocatedBuffer>();
  hits = 0;
  misses = 0;

  constructor(readonly memory: Allocator) {}

  /** Sends the tile, made where it is not there. */
  send(key: string, make: (key: string) => Uint8Array, response: ServerResponse): void {
    const tile = this.#get(key, make);
    // Others may evict it while a slow client still reads it.
    this.memory.hold(tile, { until: finished(response) });
    response.end(tile);
  }

  #get(key: string, make: (key: string) => Uint8Array): AllocatedBuffer {
    let tile = this.#tiles.get(key);
    if (tile === undefined) {
      this.misses += 1;
      const content = make(key);
      tile = this.#allocate(content.byteLength);
      tile.set(content);
    } else {
      this.hits += 1;
      this.#tiles.delete(key);
    }
    this.#tiles.set(key, tile);
    return tile;
  }

  #allocate(bytes: number): AllocatedBuffer {
    for (;;) {
      try {
        return this.memory.allocate(bytes);
      } catch (error) {
        const full = error instanceof MallocBackendError && error.code === 'ERR_LIMIT_EXCEEDED';
        const [oldest] = this.#tiles;
        if (!full || oldest === undefined) throw error;
        this.#tiles.delete(oldest[0]);
        this.memory.free(oldest[1]);
      }
    }
  }

  get size(): number {
    return this.#tiles.size;
  }
}

/** As if rendered: noise that compresses to between a tenth and all of 64 KiB. */
function render(key: string): Uint8Array {
  const [x = 0, y = 0] = key.split('/').map(Number);
  const tile = Buffer.alloc(65_536);
  randomBytes(6_000 + ((x * 31 + y * 17) % 59) * 1000).copy(tile);
  tile.write(key, 'latin1');
  return deflateRawSync(tile, { level: 1 });
}

using memory = Allocator.create(parseBackend(process.argv[2] ?? 'jemalloc'), {
  name: 'tiles',
  limit: 16 * MIB,
});
const cache = new TileCache(memory);
const server = createServer((request, response) => {
  try {
    cache.send(request.url?.slice(1) ?? '', render, response);
  } catch (error) {
    // All of the limit is held by responses that are being sent.
    response.writeHead(503).end(String(error));
  }
}).listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address() as AddressInfo;

const agent = new Agent({ keepAlive: true });
async function client(requests: number): Promise<void> {
  for (let request = 0; request < requests; request++) {
    // Most requests are for few tiles.
    const key = `${Math.floor(40 * Math.random() ** 3)}/${Math.floor(40 * Math.random())}`;
    const [response] = await once(get({ agent, port, host: '127.0.0.1', path: `/${key}` }), 'response');
    const tile = inflateRawSync(await buffer(response));
    if (!tile.toString('latin1').startsWith(key)) throw new Error(`wrong answer for ${key}`);
  }
}
await Promise.all(Array.from({ length: 8 }, () => client(300)));
agent.destroy();
server.close();
console.log(`${cache.size} tiles, ${cache.hits} hits, ${cache.misses} misses`);
console.log(
  `${(memory.bytesAllocated / MIB).toFixed(1)} of ${memory.limit / MIB} MiB, at most ${(memory.maxMemory / MIB).toFixed(1)}`,
);
