// When a service is ready, and who has its port.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { placesOf, requireFree } from '../src/compare/ports.js';
import { TextWatch, parseReady, waitUntilReady } from '../src/compare/ready.js';
import * as tools from './fixtures-ts/tools.js';
import { describe, test } from './support/suite.js';

const never = new AbortController().signal;

/** A server whose answers have these statuses in turn, the last one for ever. */
async function server(statuses: number[], port = 0) {
  const server = createServer((_, response) => {
    response.statusCode = statuses.length > 1 ? statuses.shift()! : statuses[0]!;
    response.end();
  }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

describe('--ready', () => {
  test('is a URL, a port or a text', () => {
    for (const [text, readiness] of [
      ['http://localhost:3000/health', { kind: 'url', url: 'http://localhost:3000/health' }],
      ['HTTPS://x', { kind: 'url', url: 'https://x/' }],
      ['3000', { kind: 'port', host: '127.0.0.1', port: 3000 }],
      ['localhost:80', { kind: 'port', host: 'localhost', port: 80 }],
      ['[::1]:80', { kind: 'port', host: '::1', port: 80 }],
      ['0', { kind: 'text', text: '0' }],
      ['70000', { kind: 'text', text: '70000' }],
      ['listening on 3000', { kind: 'text', text: 'listening on 3000' }],
      ['text:3000', { kind: 'text', text: '3000' }],
      ['text:http://x', { kind: 'text', text: 'http://x' }],
    ] as const)
      assert.deepEqual(parseReady(text), readiness, text);
  });

  test('waits for a URL until the answer is good', async () => {
    const { port, close } = await server([503, 404, 200]);
    try {
      assert.equal(
        await waitUntilReady({ kind: 'url', url: `http://127.0.0.1:${port}/` }, 600_000, never),
        true,
      );
    } finally {
      close();
    }
  });

  test('says what the last answer was, where the time is over', async () => {
    const { port, close } = await server([404]);
    try {
      const said = await waitUntilReady({ kind: 'url', url: `http://127.0.0.1:${port}/` }, 100, never);
      assert.equal(said, 'it answers 404 Not Found');
    } finally {
      close();
    }
    const refused = await waitUntilReady({ kind: 'port', host: '127.0.0.1', port }, 100, never);
    assert.match(String(refused), /ECONNREFUSED/);
  });

  test('waits for a port', async () => {
    const port = await tools.freePort();
    const ready = waitUntilReady({ kind: 'port', host: '127.0.0.1', port }, 600_000, never);
    const { close } = await server([200], port);
    try {
      assert.equal(await ready, true);
    } finally {
      close();
    }
  });

  test('ends the wait when it is aborted', async () => {
    const port = await tools.freePort();
    const controller = new AbortController();
    const ready = waitUntilReady({ kind: 'port', host: '127.0.0.1', port }, 600_000, controller.signal);
    controller.abort();
    await assert.rejects(ready, { name: 'AbortError' });
  });

  test('finds a text that arrives in pieces', async () => {
    const watch = new TextWatch('listening');
    let isFound = false;
    void watch.found.then(() => (isFound = true));
    for (const piece of ['list', 'en', 'in', ' listenin']) watch.read(piece);
    await Promise.resolve();
    assert.equal(isFound, false);
    watch.read('g on 3000');
    await watch.found;
  });
});

describe('the ports of a service', () => {
  test('are those of --ready and --load', () => {
    for (const [ready, load, places] of [
      ['3000', 'http://127.0.0.1:3000/', ['127.0.0.1 3000']],
      ['http://localhost/', 'https://[::1]/x', ['localhost 80', '::1 443']],
      ['listening', 'http://127.0.0.1:8080/', ['127.0.0.1 8080']],
      ['listening', 'k6 run script.js', []],
    ] as const)
      assert.deepEqual(
        placesOf(ready, load).map(({ host, port }) => `${host} ${port}`),
        places,
      );
  });

  test('must be free, or the error names who has one', async () => {
    const { port, close } = await server([200]);
    try {
      await tools.rejects(
        requireFree([{ host: '127.0.0.1', port }]),
        'ERR_PORT_IN_USE',
        new RegExp(
          `^127\\.0\\.0\\.1:${port} is taken before the service starts, by process ${process.pid} \\(.+\\);`,
        ),
      );
    } finally {
      close();
    }
    await requireFree([{ host: '127.0.0.1', port }]);
  });
});
