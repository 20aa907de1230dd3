// Buffers of an Allocator in the hands of Node's own modules, and what happens when one is freed too early.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, createHmac, randomFill, webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, connect } from 'node:net';
import { closeSync, constants, mkdtempSync, openSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MessageChannel, Worker, markAsUntransferable, receiveMessageOnPort } from 'node:worker_threads';
import { deflate, inflate } from 'node:zlib';
import { Allocator, type AllocatorEvent, preferredBackend } from '../index.js';
import { BACKENDS, codeOf, collectUntil, isFilledWith } from './support/allocators.js';
import { afterAll, describe, test } from './support/suite.js';

const folder = mkdtempSync(join(tmpdir(), 'malloc-backend-'));
afterAll(() => rm(folder, { recursive: true }));

const text = 'Prüfung of a buffer, 0123456789. '.repeat(3000);
const plain = Buffer.from(text);

/** Why no memory can be moved away; false where it can. */
const noTransfer: string | false =
  'transfer' in ArrayBuffer.prototype ? false : 'this Node has no ArrayBuffer.prototype.transfer';

const noMove =
  process.platform === 'linux' ? false : 'Node-API makes ArrayBuffers that Node does not transfer';

for (const backend of BACKENDS) {
  describe(`a buffer of ${backend} passes unharmed through`, () => {
    const allocator = Allocator.create(backend);
    const filled = () => {
      const buffer = allocator.allocate(plain.length);
      plain.copy(buffer);
      return buffer;
    };

    test('fs', async () => {
      using buffer = filled();
      const path = join(folder, backend);
      await writeFile(path, buffer);
      assert.ok((await readFile(path)).equals(plain));
      using read = allocator.allocate(plain.length, { zero: true });
      await using file = await open(path);
      assert.equal((await file.read(read, 0, plain.length, 0)).bytesRead, plain.length);
      assert.ok(read.equals(plain));
    });

    test('zlib', async () => {
      using buffer = filled();
      const packed = await promisify(deflate)(buffer);
      using copy = allocator.allocate(packed.length);
      packed.copy(copy);
      assert.ok((await promisify(inflate)(copy)).equals(plain));
    });

    test('crypto', async () => {
      using buffer = filled();
      const hash = (data: Buffer) => createHash('sha256').update(data).digest('hex');
      const hmac = (key: Buffer) => createHmac('sha1', key).update(plain).digest('hex');
      assert.equal(hash(buffer), hash(plain));
      assert.equal(hmac(buffer), hmac(plain));
      const digest = await webcrypto.subtle.digest('SHA-512', buffer);
      assert.deepEqual(digest, await webcrypto.subtle.digest('SHA-512', plain));
      using random = allocator.allocate(1000, { zero: true });
      await promisify(randomFill)(random);
      assert.ok(!isFilledWith(random, 0));
    });

    test('net', async () => {
      using buffer = filled();
      await using server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      assert.ok(typeof address === 'object' && address !== null);
      const socket = connect(address.port, '127.0.0.1');
      socket.end(buffer);
      const chunks: Buffer[] = [];
      for await (const chunk of socket) chunks.push(chunk as Buffer);
      assert.ok(Buffer.concat(chunks).equals(plain));
    });

    test('text', () => {
      using buffer = filled();
      assert.equal(new TextDecoder().decode(buffer), text);
      assert.equal(buffer.toString(), text);
      using written = allocator.allocate(plain.length);
      assert.equal(new TextEncoder().encodeInto(text, written).written, plain.length);
      assert.ok(written.equals(plain));
      assert.equal(buffer.toString('base64'), plain.toString('base64'));
    });

    test('structuredClone and postMessage', async () => {
      using buffer = filled();
      assert.ok(plain.equals(structuredClone(buffer)));
      const { port1, port2 } = new MessageChannel();
      port1.postMessage(buffer);
      const received = receiveMessageOnPort(port2) as { message: Uint8Array };
      assert.ok(plain.equals(received.message));
      port1.close();
      const echo = new Worker(
        "const { parentPort } = require('node:worker_threads'); parentPort.once('message', (data) => parentPort.postMessage(data))",
        { eval: true },
      );
      echo.postMessage(buffer);
      const [answer] = (await once(echo, 'message')) as [Uint8Array];
      assert.ok(plain.equals(answer));
      assert.ok(buffer.equals(plain));
    });

    test('a transfer: to whom it went it belongs', async () => {
      const { port1, port2 } = new MessageChannel();
      const transfers = [
        (buffer: Buffer) => structuredClone(buffer, { transfer: [buffer.buffer as ArrayBuffer] }),
        (buffer: Buffer) => {
          port1.postMessage(buffer, [buffer.buffer as ArrayBuffer]);
          return (receiveMessageOnPort(port2) as { message: Uint8Array }).message;
        },
      ];
      for (const transfer of transfers) {
        const before = allocator.bytesAllocated;
        const buffer = filled();
        // Where Node-API makes the ArrayBuffers, Node 20 copies them and newer ones refuse.
        if (process.platform !== 'linux') {
          try {
            assert.ok(plain.equals(transfer(buffer)));
          } catch (error) {
            assert.equal((error as Error).name, 'DataCloneError');
          }
          assert.ok(buffer.equals(plain));
          allocator.free(buffer);
          continue;
        }
        assert.ok(plain.equals(transfer(buffer)));
        assert.equal(buffer.length, 0);
        assert.equal(allocator.owns(buffer), false);
        assert.throws(() => allocator.free(buffer), { code: 'ERR_NOT_ALLOCATED', message: /transferred/ });
        await collectUntil(() => allocator.bytesAllocated === before);
        assert.equal(allocator.bytesAllocated, before, 'it is freed when its new owner is collected');
      }
      port1.close();
    });

    test('a slot that a transferred buffer had is another buffer’s', async () => {
      const before = allocator.buffers;
      const gone = filled();
      if (process.platform === 'linux')
        structuredClone(gone.buffer, { transfer: [gone.buffer as ArrayBuffer] });
      else allocator.free(gone);
      await collectUntil(() => allocator.buffers === before);
      using empty = allocator.allocate(0);
      assert.deepEqual([allocator.owns(gone), allocator.owns(empty)], [false, true]);
      for (const refused of [() => allocator.free(gone), () => allocator.reallocate(gone, 1)])
        assert.equal(codeOf(refused), 'ERR_NOT_ALLOCATED');
      assert.equal(allocator.buffers, before + 1);
    });

    test('using, of what was transferred meanwhile', { skip: noMove }, () => {
      const moved = (() => {
        using buffer = filled();
        return structuredClone(buffer, { transfer: [buffer.buffer as ArrayBuffer] });
      })();
      assert.ok(plain.equals(moved));
    });

    test('a mark that it is not transferable', () => {
      for (const end of [
        (buffer: Buffer) => allocator.free(buffer),
        (buffer: Buffer) => allocator.free(allocator.reallocate(buffer, 10)),
      ]) {
        const buffer = filled();
        markAsUntransferable(buffer.buffer);
        end(buffer);
        assert.equal(buffer.length, 0);
      }
    });

    test('a property in the place of its memory', () => {
      type Wasm = { WebAssembly: { Memory: new (options: { initial: number }) => { buffer: ArrayBuffer } } };
      const { Memory } = (globalThis as unknown as Wasm).WebAssembly;
      for (const other of [new ArrayBuffer(0), new Memory({ initial: 0 }).buffer, null]) {
        for (const bytes of [0, 10]) {
          const buffer = allocator.allocate(bytes);
          Object.defineProperty(buffer, 'buffer', { value: other });
          assert.ok(allocator.owns(buffer));
          allocator.free(buffer);
          assert.deepEqual([allocator.owns(buffer), buffer.length], [false, 0]);
        }
      }
    });

    test('a transfer to a worker, which ends with it', async () => {
      const before = allocator.bytesAllocated;
      const buffer = filled();
      const code = `const { parentPort } = require('node:worker_threads');
        parentPort.once('message', (data) => { globalThis.keep = data; parentPort.postMessage(data.length); setInterval(() => {}, 1e6); });`;
      const worker = new Worker(code, { eval: true });
      worker.postMessage(buffer, process.platform === 'linux' ? [buffer.buffer as ArrayBuffer] : []);
      assert.deepEqual(await once(worker, 'message'), [plain.length]);
      assert.equal(allocator.bytesAllocated, before + plain.length);
      await worker.terminate();
      if (process.platform === 'linux')
        assert.equal(
          codeOf(() => allocator.free(buffer)),
          'ERR_NOT_ALLOCATED',
        );
      else allocator.free(buffer);
      assert.equal(allocator.bytesAllocated, before);
    });

    test('a detachment by others is noticed', { skip: noTransfer }, () => {
      const buffer = filled();
      const moved = (buffer.buffer as ArrayBuffer & { transfer(): ArrayBuffer }).transfer();
      assert.ok(plain.equals(new Uint8Array(moved)));
      assert.equal(allocator.owns(buffer), false);
      assert.throws(() => allocator.free(buffer), { code: 'ERR_NOT_ALLOCATED', message: /transferred/ });
      assert.equal(
        codeOf(() => allocator.reallocate(buffer, 1)),
        'ERR_NOT_ALLOCATED',
      );
      assert.ok(plain.equals(new Uint8Array(moved)));
      const longer = (moved as ArrayBuffer & { transfer(bytes: number): ArrayBuffer }).transfer(
        2 * plain.length,
      );
      assert.ok(plain.equals(new Uint8Array(longer, 0, plain.length)));
    });
  });
}

describe('free() after a promise', () => {
  const allocator = Allocator.create('default');

  test('leaves the buffer alone until then', async () => {
    const path = join(folder, 'after');
    const buffer = allocator.allocate(1_000_000).fill('x');
    const write = writeFile(path, buffer);
    const freed = allocator.free(buffer, { after: write });
    assert.equal(buffer.length, 1_000_000);
    assert.equal(allocator.owns(buffer), false);
    assert.equal(
      codeOf(() => allocator.free(buffer)),
      'ERR_NOT_ALLOCATED',
    );
    assert.equal(await freed, undefined);
    assert.deepEqual([buffer.length, allocator.bytesAllocated], [0, 0]);
    assert.ok(isFilledWith(await readFile(path), 0x78));
  });

  test('frees it as well where the promise is rejected', async () => {
    const buffer = allocator.allocate(10);
    const failed = Promise.reject(new Error('the job failed'));
    await allocator.free(buffer, { after: failed });
    assert.equal(buffer.length, 0);
    await assert.rejects(failed, /the job failed/);
  });

  test('using does not free what was claimed', async () => {
    let claimed: Buffer;
    let freed: Promise<void>;
    let finish = (): void => {};
    {
      using buffer = allocator.allocate(10);
      freed = allocator.free(buffer, { after: new Promise<void>((resolve) => (finish = resolve)) });
      claimed = buffer;
    }
    assert.equal(claimed.length, 10);
    finish();
    await freed;
    assert.equal(claimed.length, 0);
  });
});

const noPipes = process.platform === 'win32' && 'there are no named pipes in files';
const letsGoLate = process.platform !== 'linux' && 'Node-API lets go of an ArrayBuffer in the next turn only';

describe('the quarantine', () => {
  const KIB = 1024;

  test('keeps a job that runs from what comes after', async () => {
    const allocator = Allocator.create(preferredBackend(), { quarantine: 8 * KIB * KIB });
    const buffer = allocator.allocate(KIB * KIB).fill(1);
    const path = join(folder, 'quarantine');
    await using file = await open(path, 'w');
    const write = file.write(buffer);
    allocator.free(buffer);
    // Without the quarantine this would get the same memory.
    const next = allocator.allocate(KIB * KIB).fill(2);
    await write;
    const written = await readFile(path);
    assert.ok(!written.includes(2), 'nothing of another buffer was written');
    assert.ok(isFilledWith(written, 1) || written.includes(0xdb), 'what was written is its own, or poison');
    allocator.free(next);
  });

  test('is within its bytes, does not count, and is emptied', () => {
    const allocator = Allocator.create('mimalloc', { quarantine: 10 * KIB, limit: 16 * KIB });
    for (let round = 0; round < 100; round++) {
      allocator.free(allocator.allocate(3 * KIB));
      assert.ok(allocator.stats().quarantined <= 10 * KIB);
    }
    assert.deepEqual([allocator.stats().quarantined, allocator.bytesAllocated], [9 * KIB, 0]);
    const buffer = allocator.allocate(KIB);
    const resized = allocator.reallocate(buffer, 2 * KIB);
    assert.deepEqual([allocator.stats().quarantined, allocator.bytesAllocated], [10 * KIB, 2 * KIB]);
    allocator.free(allocator.allocate(11 * KIB));
    assert.equal(allocator.stats().quarantined, 0, 'what is larger than it pushes all out, and itself');
    allocator.free(resized);
    allocator.free(allocator.allocate(0));
    allocator.release();
    assert.equal(allocator.stats().quarantined, 0);
  });

  test('shows poison to a job that reads it late', { skip: noPipes }, async () => {
    const allocator = Allocator.create('jemalloc', { quarantine: 64 * KIB });
    const path = join(folder, 'full');
    execFileSync('mkfifo', [path]);
    // The pipe is full, so that the write comes to its buffer when the pipe is read.
    const full = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    let before = 0;
    try {
      for (;;) before += writeSync(full, Buffer.alloc(4 * KIB));
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
    }
    await using file = await open(path, 'r+');
    const buffer = allocator.allocate(16 * KIB).fill(1);
    const writing = file.write(buffer);
    allocator.free(buffer);
    const read = Buffer.alloc(before + 16 * KIB);
    for (let end = 0; end < read.length;) end += (await file.read(read, end, read.length - end)).bytesRead;
    closeSync(full);
    await writing;
    assert.ok(isFilledWith(read.subarray(before), 0xdb));
    allocator.dispose();
    assert.equal(allocator.stats().damaged, 0, 'nobody has written to it');
  });

  test('gives back what leaves it, and what is left of it', async () => {
    const { rss } = process.memoryUsage;
    const before = rss();
    // So large that libc maps each by itself, and unmaps it at once.
    const size = 40 * KIB * KIB;
    const allocator = Allocator.create('default', { quarantine: size });
    for (let n = 0; n < 10; n++) allocator.free(allocator.allocate(size));
    assert.ok(rss() - before < 3 * size, `${(rss() - before) / size} blocks`);
    allocator.dispose();
    // Without dispose().
    const forget = () => {
      const forgotten = Allocator.create('default', { quarantine: size });
      forgotten.free(forgotten.allocate(size));
    };
    for (let n = 0; n < 10; n++) forget();
    await collectUntil(() => rss() - before < 3 * size);
    assert.ok(rss() - before < 3 * size, `${(rss() - before) / size} blocks`);
  });

  test('does not hold what has no bytes, and takes no room', { skip: letsGoLate }, () => {
    const { rss } = process.memoryUsage;
    const before = rss();
    const allocator = Allocator.create('default', { quarantine: KIB * KIB });
    for (let n = 0; n < 1_000_000; n++) allocator.free(allocator.allocate(0));
    assert.ok(rss() - before < 30 * KIB * KIB, `${(rss() - before) / KIB / KIB} MiB`);
  });

  test('finds what was written to after it was freed', { skip: noPipes }, async () => {
    const events: AllocatorEvent[] = [];
    // A read of it waits until something was written.
    const path = join(folder, 'fifo');
    execFileSync('mkfifo', [path]);
    const allocator = Allocator.create('default', {
      quarantine: 64 * KIB,
      log: (event) => events.push(event),
    });
    await using file = await open(path, 'r+');
    const buffer = allocator.allocate(16 * KIB);
    const reading = file.read(buffer, buffer.length - 4, 4, null);
    const others = [1, 2].map(() => allocator.allocate(16 * KIB));
    allocator.free(others[0] ?? assert.fail());
    allocator.free(buffer);
    allocator.free(others[1] ?? assert.fail());
    writeSync(file.fd, 'late');
    await reading;
    assert.equal(allocator.stats().damaged, 0, 'it is looked for when the block leaves');
    allocator.dispose();
    assert.deepEqual([allocator.stats().damaged, allocator.stats().quarantined], [1, 0]);
    assert.deepEqual(events.at(-1), { type: 'damage', blocks: 1 });
  });

  test('ends with the allocator, and with one above it', () => {
    const parent = Allocator.create('mimalloc', { quarantine: 64 * KIB });
    const child = parent.child().child();
    const buffers = [parent, child].flatMap((allocator) =>
      [1, 2, 3].map(() => ({ allocator, buffer: allocator.allocate(KIB) })),
    );
    const quarantined = () => [parent.stats().quarantined, child.stats().quarantined];
    for (const { allocator, buffer } of buffers.splice(1, 1).concat(buffers.splice(3, 1)))
      allocator.free(buffer);
    assert.deepEqual(quarantined(), [KIB, KIB]);
    parent.dispose();
    assert.deepEqual(quarantined(), [0, 0], 'what is there goes');
    for (const { allocator, buffer } of buffers) allocator.free(buffer);
    assert.deepEqual(quarantined(), [0, 0], 'what is freed later does not get there');
    assert.equal(parent.bytesAllocated, 0);
  });
});
