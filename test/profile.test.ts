// The heap profile of programs that leak known amounts in known places.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HeapProfileState } from '../index.js';
import { assertEstimate } from './support/estimate.js';
import { compiled } from './support/native.js';
import { SUPPORTED, nodeOf } from './support/nodes.js';
import { type Decoded, type Sample, decode, sum, under } from './support/pprof.js';
import { succeed } from './support/run.js';
import { SWITCHING, notGlibc, root, shim } from './support/shims.js';
import { afterAll, beforeAll, describe, test } from './support/suite.js';

const skip =
  process.platform === 'linux' && process.arch === 'x64' ? false : 'heap profiles are for Linux on x64 only';

const folder = mkdtempSync(join(tmpdir(), 'malloc-backend-profile-'));
afterAll(() => rmSync(folder, { recursive: true }));

const program = join(root, 'dist', 'test', 'fixtures-ts', 'leaks.js');
const source = program;
let addon = '-';
beforeAll(async () => {
  if (skip === false) addon = await compiled('leaks.node');
});

interface Ended {
  profile: Decoded;
  bytes: Record<string, number>;
  state: HeapProfileState;
}

let count = 0;
async function leak(
  node: string,
  interval: number,
  leaks: string[],
  env: Record<string, string> = {},
  flags: string[] = [],
): Promise<Ended> {
  const file = join(folder, `${count++}.pb.gz`);
  const args = ['--expose-gc', ...flags, program, file, String(interval), addon, ...leaks];
  const { stdout, stderr } = await succeed(node, args, { env });
  assert.equal(stderr, '');
  const { bytes, state } = JSON.parse(stdout) as Omit<Ended, 'profile'>;
  return { profile: decode(readFileSync(file)), bytes, state };
}

const INTERVAL = 65_536;

/** The leaks: the function on the stack, and the size of each block. */
const LEAKS: Record<string, [function_: string, each: number]> = {
  buffer: ['leakBuffer', 100_000],
  arrayBuffer: ['leakArrayBuffer', 70_000],
  small: ['leakSmall', 256],
  key: ['leakKey', 100_000],
  deflated: ['leakDeflated', 100_000],
  method: ['leakInMethod', 50_000],
  addon: ['leakInAddon', 100_000],
  queued: ['queueLeakInAddon', 100_000],
  inlined: ['leakInlined', 5000],
  worker: ['leakInWorker', 100_000],
};

/** The samples of a leak, without V8's own objects for each buffer, and without zlib's context, which is freed. */
function leaked(profile: Decoded, name: string): Sample[] {
  const isBuffer = ['arrayBuffer', 'small', 'deflated'].includes(name);
  return under(profile, LEAKS[name]![0]).filter(
    ({ frames }) => !isBuffer || /ArrayBufferAllocator/.test(frames[0]!.name),
  );
}

/** The line on which the function begins. */
function lineOf(name: string): number {
  const lines = readFileSync(source, 'utf8').split('\n');
  const line = lines.findIndex((text) => new RegExp(`(function |^    )${name}\\(`).test(text));
  assert.notEqual(line, -1, name);
  return line + 1;
}

describe('a leak is found where it is', { skip }, () => {
  for (const major of SUPPORTED) {
    test(`on Node ${major}`, async (context) => {
      const found = await nodeOf(major);
      if ('missing' in found) return context.skip(found.missing);
      const names = [...Object.keys(LEAKS), 'deflate'];
      // From Node 24 on the code of Maglev does not tell which functions are inlined in it (see below).
      const { profile, bytes, state } = await leak(found.node, INTERVAL, names, {}, ['--no-maglev']);
      assert.deepEqual(profile.comments, []);
      assert.equal(state.running, true);
      assert.ok(!('whyNoJavascript' in state), JSON.stringify(state));
      assert.deepEqual(profile.types, [
        'alloc_objects/count',
        'alloc_space/bytes',
        'inuse_objects/count',
        'inuse_space/bytes',
      ]);
      assert.equal(profile.shown, 'inuse_space');
      assert.equal(profile.interval, INTERVAL);
      for (const [name, [function_, each]] of Object.entries(LEAKS)) {
        const samples = leaked(profile, name);
        assertEstimate(samples, bytes[name]!, each, INTERVAL, name);
        const [place] = new Set(
          samples.flatMap(({ frames }) => frames).filter((frame) => frame.name === function_),
        );
        assert.equal(place!.file, source, name);
        assert.equal(place!.line, lineOf(function_), name);
      }
      // zlib says not how much a context has. Node queues this work itself, so no JavaScript is on the stack.
      const contexts = sum(
        profile.samples.filter(({ frames }) => frames.some((frame) => /deflateInit2_/.test(frame.name))),
      );
      assert.ok(contexts > 100 * 200_000 * 0.7 && contexts < 100 * 400_000, `${contexts}`);
      // What was freed is not in use.
      const freed = under(profile, 'churn');
      assert.ok(sum(freed) < 0.2 * sum(freed, 'allocSpace'), `${sum(freed)} of ${sum(freed, 'allocSpace')}`);
    });
  }
});

describe('a function that Maglev has put into another one is named, or there is a mark', { skip }, () => {
  for (const major of SUPPORTED.slice(1)) {
    test(`on Node ${major}`, async (context) => {
      const found = await nodeOf(major);
      if ('missing' in found) return context.skip(found.missing);
      const { profile, bytes } = await leak(found.node, INTERVAL, ['method']);
      const samples = under(profile, 'times').filter(({ frames }) => /CreateUnsafe/.test(frames[4]!.name));
      assertEstimate(samples, bytes['method']!, 50_000, INTERVAL, 'all of it');
      for (const { frames } of samples) {
        const names = frames.map(({ name }) => name);
        assert.ok(
          names.includes('leakInMethod') || names.includes('[inlined functions not known]'),
          names.join(' < '),
        );
      }
    });
  }
});

describe('the stack of a leak', { skip }, () => {
  let profile: Decoded;
  beforeAll(async () => {
    ({ profile } = await leak(process.execPath, INTERVAL, ['addon', 'queued', 'inlined', 'worker']));
  });
  const names = (function_: string): string[] => {
    const [largest] = under(profile, function_).toSorted((a, b) => b.inuseSpace - a.inuseSpace);
    return largest!.frames.map(({ name }) => name);
  };

  test('goes from a library without frame pointers through Node to JavaScript', () => {
    const [inner, outer, ...rest] = names('leakInAddon');
    assert.deepEqual([inner, outer], ['leak_in_c', 'leak']);
    assert.deepEqual(rest.slice(rest.indexOf('leakInAddon')).slice(0, 3), ['leakInAddon', 'times', 'addon']);
    assert.equal(rest.at(-1), '_start');
  });

  test('goes on with who queued the work', () => {
    const stack = names('queueLeakInAddon');
    assert.equal(stack[0], 'leak_in_c');
    const queued = stack.indexOf('[queued by]');
    assert.ok(queued > 0 && stack.indexOf('queueLeakInAddon') > queued, stack.join(' '));
  });

  test('has the functions that the compiler has put into others', () => {
    const stack = names('leakInlined');
    const at = stack.indexOf('leakInlined');
    assert.deepEqual(stack.slice(at, at + 3), ['leakInlined', 'middleInlined', 'hotLoop']);
  });

  test('has labels: the thread and the backend', () => {
    const [worker] = under(profile, 'leakInWorker');
    const [main] = under(profile, 'leakInAddon');
    assert.equal(main!.labels['backend'], 'default');
    assert.equal(typeof main!.labels['thread'], 'string');
    assert.notEqual(worker!.labels['thread_id'], main!.labels['thread_id']);
  });

  test('has the modules, with their build ids', () => {
    const node = profile.modules.find(({ file }) => file === process.execPath || file.endsWith('/node'));
    assert.match(node!.buildId, /^[0-9a-f]{16,}$/);
    const library = profile.modules.find(({ file }) => file === addon);
    assert.ok(library!.start < library!.limit);
  });
});

describe('under another malloc', { skip }, () => {
  for (const backend of SWITCHING) {
    test(backend, async () => {
      const env = { LD_PRELOAD: shim(backend) };
      const { profile, bytes } = await leak(
        process.execPath,
        INTERVAL,
        ['buffer', 'arrayBuffer', 'small'],
        env,
      );
      for (const name of ['buffer', 'arrayBuffer', 'small']) {
        const samples = leaked(profile, name);
        assertEstimate(samples, bytes[name]!, LEAKS[name]![1], INTERVAL, name);
        assert.equal(samples[0]!.labels['backend'], backend);
      }
    });
  }

  test('a foreign one that is preloaded', { skip: notGlibc }, async () => {
    const env = { LD_PRELOAD: await compiled('reference.so') };
    const { profile, bytes } = await leak(process.execPath, INTERVAL, ['buffer'], env);
    assertEstimate(under(profile, 'leakBuffer'), bytes['buffer']!, 100_000, INTERVAL, 'buffer');
  });

  test("glibc's, under the shim that replaces nothing", async () => {
    const { profile, bytes } = await leak(process.execPath, INTERVAL, ['buffer'], {
      LD_PRELOAD: shim('default'),
    });
    assertEstimate(under(profile, 'leakBuffer'), bytes['buffer']!, 100_000, INTERVAL, 'buffer');
  });
});

/** Functions that have no name of their own in the source get the one that V8 infers. */
const NAMED = `
const kept = [];
exports.handler = function (bytes) { kept.push(Buffer.alloc(bytes, 1)); };
exports.arrow = (bytes) => { kept.push(Buffer.alloc(bytes, 1)); };
function Old() {}
Old.prototype.method = function (bytes) { kept.push(Buffer.alloc(bytes, 1)); };
const literal = {
  short(bytes) { kept.push(Buffer.alloc(bytes, 1)); },
  get value() { return kept.push(Buffer.alloc(200_000, 1)); },
};
class Modern {
  static fixed(bytes) { kept.push(Buffer.alloc(bytes, 1)); }
  #hidden(bytes) { kept.push(Buffer.alloc(bytes, 1)); }
  open(bytes) { this.#hidden(bytes); }
}
async function later(bytes) { await null; kept.push(Buffer.alloc(bytes, 1)); }
function Größe(bytes) { kept.push(Buffer.alloc(bytes, 1)); }
const { heapProfile } = require(process.argv[2]);
heapProfile.start({ interval: 1000 });
const size = 200_000;
exports.handler(size); exports.arrow(size); new Old().method(size); literal.short(size); literal.value;
Modern.fixed(size); new Modern().open(size); Größe(size);
// Opened while the profile runs.
require(process.argv[3]).leak(size);
later(size).then(() => heapProfile.stop()).then((profile) => require('fs').writeFileSync(process.argv[4], profile));
`;

describe('functions have the names and lines that V8 gives them', { skip }, () => {
  const expected = [
    '#hidden:13',
    'Größe:17',
    'Old.method:6',
    'exports.arrow:4',
    'exports.handler:3',
    'fixed:12',
  ];
  expected.push('get value:9', 'later:16', 'leak', 'short:8');
  for (const major of SUPPORTED) {
    test(`on Node ${major}`, async (context) => {
      const found = await nodeOf(major);
      if ('missing' in found) return context.skip(found.missing);
      const [script, file] = [join(folder, 'named ü.cjs'), join(folder, `named-${major}.pb.gz`)];
      writeFileSync(script, NAMED);
      await succeed(found.node, [script, join(root, 'dist', 'index.cjs'), addon, file]);
      const samples = decode(readFileSync(file)).samples.filter(({ inuseSpace }) => inuseSpace >= 200_000);
      const names = samples.map(({ frames }) => {
        // The top level of the script is on the stack of all but the one that has awaited.
        const place = frames.find((frame) => frame.file === script || frame.name === 'leak')!;
        return place.module === '' ? `${place.name}:${place.line}` : place.name;
      });
      assert.deepEqual(names.toSorted(), expected.toSorted());
    });
  }
});

/** Leaks in libraries that many services use. Each prints how many bytes it has leaked. */
const LIBRARIES: Record<string, { source: string; function_: string; least: string }> = {
  // libvips makes the pixels on a thread of the pool.
  sharp: {
    source: `const sharp = require('sharp');
      async function leakPicture() {
        const create = { width: 1000, height: 1000, channels: 3, background: 'red' };
        kept.push(await sharp({ create }).raw().toBuffer());
      }
      async function leak() {
        for (let index = 0; index < 40; index++) await leakPicture();
        return 40 * 3_000_000;
      }`,
    function_: 'leakPicture',
    least: '20',
  },
  // SQLite's pages of a database in memory. Behind each page there is a header, 7 % of it.
  'node:sqlite': {
    source: `const { DatabaseSync } = require('node:sqlite');
      const database = new DatabaseSync(':memory:');
      kept.push(database);
      database.exec('CREATE TABLE leak (bytes BLOB)');
      const insert = database.prepare('INSERT INTO leak VALUES (?)');
      function leakRow() { insert.run(new Uint8Array(3500)); }
      async function leak() {
        for (let index = 0; index < 16_000; index++) leakRow();
        const { page_count } = database.prepare('PRAGMA page_count').get();
        return page_count * 4096;
      }`,
    function_: 'leakRow',
    least: '24',
  },
};

describe('a leak in a library is found where JavaScript calls it', { skip }, () => {
  for (const [name, { source, function_, least }] of Object.entries(LIBRARIES))
    for (const major of SUPPORTED.filter((each) => each >= least))
      test(`${name} on Node ${major}`, async (context) => {
        const found = await nodeOf(major);
        if ('missing' in found) return context.skip(found.missing);
        const file = join(folder, `${count++}.pb.gz`);
        // Below the repository, so that its libraries are found.
        const script = join(root, 'dist', 'test-bin', `library-${process.pid}.cjs`);
        writeFileSync(
          script,
          `const kept = [];
          ${source}
          const { heapProfile } = require(${JSON.stringify(join(root, 'dist', 'index.cjs'))});
          heapProfile.start({ interval: 4096 });
          leak().then(async (bytes) => {
            globalThis.gc();
            await new Promise((resolve) => setTimeout(resolve, 200));
            require('fs').writeFileSync(${JSON.stringify(file)}, await heapProfile.stop());
            console.log(JSON.stringify({ bytes, kept: kept.length }));
          });`,
        );
        try {
          const { stdout } = await succeed(found.node, ['--expose-gc', '--no-maglev', script]);
          const { bytes } = JSON.parse(stdout) as { bytes: number };
          const samples = under(decode(readFileSync(file)), function_);
          const estimate = sum(samples);
          assert.ok(Math.abs(estimate / bytes - 1) < 0.1, `${estimate} of ${bytes}`);
          const place = samples[0]!.frames.find((frame) => frame.name === function_);
          assert.equal(place!.file, script);
        } finally {
          rmSync(script);
        }
      });
});

test('512 MiB at the default interval are within 10 %', { skip: skip || notGlibc }, async () => {
  const { profile, bytes } = await leak(process.execPath, 512 * 1024, ['large']);
  const estimate = sum(under(profile, 'leakLarge'));
  assert.ok(Math.abs(estimate / bytes['large']! - 1) < 0.1, `${estimate} of ${bytes['large']}`);
});
