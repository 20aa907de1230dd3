// A service with metrics: it tells Prometheus where its memory is, and gives memory back when it is idle or near its
// cgroup's limit.
//
//   npm run build
//   node dist/cli/main.cjs run jemalloc -- node dist/examples/metrics.js 8080
//   curl "localhost:8080/compress?mib=64" && curl localhost:8080/metrics

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { Registry, collectDefaultMetrics } from 'prom-client';
// In a program of your own: 'malloc-backend' and 'malloc-backend/prometheus'.
import { activeBackend, autoRelease, memory } from '../index.js';
import { MallocBackendError } from '../src/errors.js';
import { collectMallocMetrics } from '../src/metrics/prometheus.js';

const register = new Registry();
collectDefaultMetrics({ register });
collectMallocMetrics({ register });

try {
  const auto = autoRelease({ idle: 0.05, threshold: 0.9, interval: 5_000 });
  auto.on('release', ({ reason, released, durationMs }) => {
    console.log(`${reason}: gave ${(released / 2 ** 20).toFixed(1)} MiB back in ${durationMs.toFixed(1)} ms`);
  });
  auto.on('error', (error) => console.error(error.message));
} catch (error) {
  // On snmalloc, for example: the service runs all the same.
  if (!(error instanceof MallocBackendError && error.code === 'ERR_CANNOT_RELEASE')) throw error;
  console.log(error.message);
}

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  try {
    if (pathname === '/metrics') {
      response.setHeader('content-type', register.contentType).end(await register.metrics());
    } else if (pathname === '/memory') {
      response.setHeader('content-type', 'application/json').end(JSON.stringify(await memory(), null, 2));
    } else if (pathname === '/compress') {
      const mebibytes = Math.min(256, Math.max(1, Number(searchParams.get('mib')) || 16));
      response.end(`${gzipSync(Buffer.alloc(mebibytes << 20, 'some text ')).length} bytes\n`);
    } else {
      response.writeHead(404).end('try /compress?mib=64, /memory and /metrics\n');
    }
  } catch (error) {
    response.writeHead(500).end(`${error instanceof Error ? error.message : String(error)}\n`);
  }
});

server.listen(Number(process.argv[2] ?? 8080), () => {
  const { port } = server.address() as AddressInfo;
  console.log(
    `on ${activeBackend().allocator}: http://localhost:${port}/compress?mib=64, /memory and /metrics`,
  );
});
