// A cache of map tiles within a limit: npm run build && node dist/examples/tile-cache.js [backend]
//
// The tiles lie outside of V8's heap, so the collector has nothing to do with them. One that is evicted is gone that
// moment, and the limit holds whoever else allocates from `memory`.

import { randomBytes } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import { type AllocatedBuffer, Allocator, MallocBackendError, parseBackend } from '../index.js';

const MIB = 2 ** 20;

class TileCache {
  /** Least recently used first. */
  readonly #tiles = new Map<string, AllocatedBuffer>();
  hits = 0;
  misses = 0;

  constructor(readonly memory: Allocator) {}

  /** The tile, made where it is not there. It is the cache's: do not keep it across an await. */
  get(key: string, make: (key: string) => Uint8Array): Buffer {
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
  return deflateRawSync(tile, { level: 1 });
}

using memory = Allocator.create(parseBackend(process.argv[2] ?? 'jemalloc'), {
  name: 'tiles',
  limit: 16 * MIB,
});
const cache = new TileCache(memory);
for (let request = 0; request < 5_000; request++) {
  // Most requests are for few tiles.
  const place = Math.floor(40 * Math.random() ** 3);
  cache.get(`${place}/${Math.floor(40 * Math.random())}`, render);
}
console.log(`${cache.size} tiles, ${cache.hits} hits, ${cache.misses} misses`);
console.log(
  `${(memory.bytesAllocated / MIB).toFixed(1)} of ${memory.limit / MIB} MiB, at most ${(memory.maxMemory / MIB).toFixed(1)}`,
);
