// An HTTP server with a region for each request: npm run build && node dist/examples/regions-http.js [backend]
//
// What a request allocates is freed at once when its response has been sent, by one call, whatever became of it on the
// way. Regions are used again: to reserve address space for each request would cost more than the request.

import { createServer, get } from 'node:http';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { Allocator, type Region, parseBackend } from '../index.js';

const MIB = 2 ** 20;
const memory = Allocator.create(parseBackend(process.argv[2] ?? 'jemalloc'), {
  name: 'requests',
  limit: 64 * MIB,
});
const idle: Region[] = [];
let regions = 0;

function take(): Region {
  const region = idle.pop();
  if (region !== undefined) return region;
  regions += 1;
  return memory.region({ bytes: 32 * MIB });
}

/** Some lines, each in a block of its own, as a template would write them. */
function render(region: Region, lines: number): Buffer[] {
  return Array.from({ length: lines }, (_, line) => {
    const words = `line ${line} of ${lines}\n`;
    const view = region.allocate(words.length);
    view.write(words, 'latin1');
    return view;
  });
}

const server = createServer((request, response) => {
  const region = take();
  // Also when the client went away: after `close` nothing of Node's reads the views any more.
  response.once('close', () => {
    region.reset();
    idle.push(region);
  });
  const lines = Number(new URL(request.url ?? '/', 'http://localhost').searchParams.get('lines') ?? 3);
  for (const view of render(region, Math.min(lines, 10_000))) response.write(view);
  response.end();
}).listen(0, '127.0.0.1');
await once(server, 'listening');

const address = server.address();
const port = typeof address === 'object' && address !== null ? address.port : 0;
async function ask(lines: number): Promise<string> {
  const [response] = await once(get({ port, host: '127.0.0.1', path: `/?lines=${lines}` }), 'response');
  return text(response);
}

let answered = 0;
for (let round = 0; round < 20; round++) {
  const answers = await Promise.all(Array.from({ length: 8 }, (_, client) => ask(round * 8 + client)));
  for (const [client, answer] of answers.entries()) {
    const lines = round * 8 + client;
    const expected = Array.from({ length: lines }, (_, line) => `line ${line} of ${lines}\n`).join('');
    if (answer !== expected) throw new Error(`wrong answer for ${lines} lines`);
    answered += 1;
  }
}
server.close();
await once(server, 'close');
for (const region of idle) region.dispose();
console.log(`${answered} requests, ${regions} regions, ${memory.bytesAllocated} bytes left`);
