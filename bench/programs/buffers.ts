// Buffer churn: up to 400 live buffers of 1 KiB to 1 MiB, one replaced at a time, in the end all dropped.
import { amount, generator, reportRssAfterIdle } from './idle.js';

const below = generator();
const live: Buffer[] = [];
for (let i = amount(40_000); i > 0; i--) {
  // As many small as large ones: the exponent is uniform, not the size.
  const size = Math.floor(1024 * 2 ** (below(1000) / 100));
  live[below(400)] = Buffer.allocUnsafeSlow(size).fill(i & 255);
}
live.length = 0;
await reportRssAfterIdle();
