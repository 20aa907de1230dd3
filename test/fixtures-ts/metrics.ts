// A service with metrics: it listens on a port of its own, which it prints, until its input ends.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Registry } from 'prom-client';
import { releaseMemory } from '../../index.js';
import { collectMallocMetrics } from '../../src/metrics/prometheus.js';

const register = new Registry();
collectMallocMetrics({ register });
// Twice, where the allocator can.
for (let n = 0; n < 2; n++) await releaseMemory().catch(() => undefined);

const server = createServer(async (_, response) => {
  response.setHeader('content-type', register.contentType).end(await register.metrics());
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
process.stdin.on('end', () => server.close()).resume();
