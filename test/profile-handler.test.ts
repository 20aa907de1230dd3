// heapProfileHandler in node:http, Express and Fastify: what a scraper gets, and what is refused.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Server, createServer, get, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import { diff } from '../src/profile/diff.js';
import { Captures, type Profiler } from '../src/profile/live/captures.js';
import { type HeapProfileHandler, handlerOf } from '../src/profile/live/handler.js';
import { readProfile } from '../src/profile/pprof.js';
import * as tools from './fixtures-ts/tools.js';
import { profileOf, shop, shopBefore } from './support/profiles.js';
import { describe, test } from './support/suite.js';

/** A profiler that notes what it is told. */
class Fake implements Profiler {
  isRunning = false;
  readonly calls: string[] = [];

  start(): void {
    this.calls.push('start');
    this.isRunning = true;
  }

  async snapshot(): Promise<Uint8Array> {
    this.calls.push('snapshot');
    return profileOf(shopBefore());
  }

  async mark(): Promise<() => Promise<Uint8Array>> {
    this.calls.push('mark');
    return async () => {
      this.calls.push('change');
      return diff(profileOf(shopBefore()), profileOf(shop()));
    };
  }

  async stop(): Promise<Uint8Array> {
    this.calls.push('stop');
    this.isRunning = false;
    return profileOf(shop());
  }
}

type Serve = (handler: HeapProfileHandler) => Promise<{ port: number; close: () => Promise<unknown> }>;

async function listening(server: Server): Promise<{ port: number; close: () => Promise<unknown> }> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.closeAllConnections();
      server.close();
      return once(server, 'close');
    },
  };
}

const SERVERS: Record<string, Serve> = {
  'node:http': (handler) =>
    listening(
      createServer((incoming, response) => {
        if (incoming.url?.startsWith('/debug/pprof/heap')) void handler(incoming, response);
        else response.end('the service');
      }),
    ),
  Express: (handler) => {
    const app = express();
    app.all('/debug/pprof/heap', handler);
    return listening(createServer(app));
  },
  Fastify: async (handler) => {
    const app = fastify();
    app.all('/debug/pprof/heap', handler);
    await app.listen({ port: 0, host: '127.0.0.1' });
    return { port: (app.server.address() as AddressInfo).port, close: () => app.close() };
  },
};

interface Answer {
  status: number;
  type: string | undefined;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

function ask(port: number, query = '', method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { port, host: '127.0.0.1', method, path: `/debug/pprof/heap${query}` },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode!,
            type: response.headers['content-type'],
            headers: response.headers,
            body: Buffer.concat(chunks),
          }),
        );
      },
    );
    asked.on('error', reject).end();
  });
}

for (const [name, serve] of Object.entries(SERVERS))
  describe(`heapProfileHandler in ${name}`, () => {
    const serving = async (work: (port: number, fake: Fake) => Promise<void>) => {
      const fake = new Fake();
      const { port, close } = await serve(handlerOf(new Captures(fake)));
      try {
        await work(port, fake);
      } finally {
        await close();
      }
    };

    test('makes a profile of so many seconds', () =>
      serving(async (port, fake) => {
        const { status, type, headers, body } = await ask(port, '?seconds=0.05');
        assert.deepEqual([status, type], [200, 'application/octet-stream']);
        assert.equal(headers['content-disposition'], 'attachment; filename="heap.pb.gz"');
        assert.equal(headers['x-content-type-options'], 'nosniff');
        assert.equal(readProfile(body).samples.length, 7);
        assert.deepEqual(fake.calls, ['start', 'stop']);
      }));

    test('gives what a profile of the program has, at once', () =>
      serving(async (port, fake) => {
        fake.isRunning = true;
        const { status, body } = await ask(port);
        assert.equal(status, 200);
        assert.equal(readProfile(body).samples.length, 8);
        assert.deepEqual(fake.calls, ['snapshot']);
        assert.ok(fake.isRunning);
      }));

    test('with a time gives what changed in a profile of the program, as Go does', () =>
      serving(async (port, fake) => {
        fake.isRunning = true;
        const { body } = await ask(port, '?seconds=0.05');
        assert.equal(readProfile(body).samples.length, 3);
        assert.deepEqual(fake.calls, ['mark', 'change']);
      }));

    test('refuses what does not work, and says why', () =>
      serving(async (port, fake) => {
        const cases: [string, number, RegExp][] = [
          ['', 409, /no profile runs in this process; ask with \?seconds=30, or call heapProfile\.start\(\)/],
          ['?seconds=x', 400, /seconds must be a number like 30, not "x"/],
          ['?seconds=', 400, /seconds must be a number like 30, not ""/],
          ['?seconds=-1', 400, /seconds must be a number like 30/],
          ['?seconds=0', 400, /seconds must be a number above 0 and at most 3600, not 0/],
          ['?seconds=4000', 400, /at most 3600, not 4000/],
          ['?seconds=1&seconds=2', 400, /the parameter seconds is there more than once/],
          ['?debug=1', 400, /unknown parameter "debug"; it must be one of: seconds, gc/],
          ['?seconds=0.01&gc=yes', 400, /gc must be 1 or 0, not "yes"/],
          ['?seconds=0.01&gc=1', 400, /gc=1 needs a Node that was started with --expose-gc/],
          ['?__proto__=1', 400, /unknown parameter/],
        ];
        for (const [query, code, pattern] of cases) {
          const { status, type, body } = await ask(port, query);
          assert.deepEqual([status, type], [code, 'text/plain; charset=utf-8'], query);
          assert.match(body.toString(), pattern);
        }
        const { status, headers } = await ask(port, '?seconds=0.01', 'POST');
        assert.deepEqual([status, headers['allow']], [405, 'GET']);
        assert.deepEqual(fake.calls, []);
      }));

    test('stops the profile of a client that goes away', () =>
      serving(async (port, fake) => {
        const asked = get({ port, host: '127.0.0.1', path: '/debug/pprof/heap?seconds=60' });
        asked.on('error', () => {});
        await tools.until('the profiler', () => fake.calls.includes('start'));
        asked.destroy();
        await tools.until('the profiler', () => fake.calls.includes('stop'));
        assert.equal((await ask(port, '?seconds=0.01')).status, 200);
      }));

    test('has a second client wait', () =>
      serving(async (port, fake) => {
        const both = await Promise.all([ask(port, '?seconds=0.1'), ask(port, '?seconds=0.1')]);
        assert.deepEqual(
          both.map(({ status }) => status),
          [200, 200],
        );
        assert.deepEqual(fake.calls, ['start', 'stop', 'start', 'stop']);
      }));

    test('says what went wrong with the profile', () =>
      serving(async (port, fake) => {
        fake.start = () => {
          throw new Error('it is broken');
        };
        const { status, body } = await ask(port, '?seconds=1');
        assert.deepEqual([status, body.toString()], [500, 'it is broken\n']);
      }));
  });

test('who waits for a profile can give up at once, and the next one waits on', async () => {
  const fake = new Fake();
  const captures = new Captures(fake);
  const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()];
  const states: string[] = [];
  const ask = ({ signal }: AbortController, name: string) =>
    captures.capture({ seconds: 60, signal, tell: (state) => states.push(`${name} ${state}`) });
  const aborted = { name: 'AbortError' };
  const one = assert.rejects(ask(first, 'first'), aborted);
  await tools.until('the profiler', () => fake.calls.length > 0);
  const two = assert.rejects(ask(second, 'second'), aborted);
  const three = assert.rejects(ask(third, 'third'), aborted);
  second.abort();
  await two;
  assert.deepEqual(states, ['first profiling', 'second waiting', 'third waiting']);
  assert.deepEqual(fake.calls, ['start']);
  first.abort();
  await one;
  await tools.until('the third one', () => states.includes('third profiling'));
  third.abort();
  await three;
  assert.deepEqual(fake.calls, ['start', 'stop', 'start', 'stop']);
});

test('heapProfileHandler collects garbage where Node can', async () => {
  const fake = new Fake();
  fake.isRunning = true;
  const { port, close } = await SERVERS['node:http']!(handlerOf(new Captures(fake)));
  let collected = 0;
  globalThis.gc = (() => (collected += 1)) as never;
  try {
    assert.equal((await ask(port, '?gc=1')).status, 200);
    assert.equal((await ask(port, '?gc=0')).status, 200);
    assert.equal(collected, 1);
  } finally {
    Reflect.deleteProperty(globalThis, 'gc');
    await close();
  }
});
