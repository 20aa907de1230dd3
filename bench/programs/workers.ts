// Worker threads that come and go: each allocates buffers, hands one back, and ends.
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';
import { amount, generator, reportRssAfterIdle } from './idle.js';

if (isMainThread) {
  let left = amount(48);
  const work = async (): Promise<void> => {
    while (left-- > 0) {
      await new Promise<void>((resolve, reject) => {
        const worker = new Worker(fileURLToPath(import.meta.url));
        worker.once('error', reject).once('exit', () => resolve());
      });
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  await reportRssAfterIdle();
} else {
  const below = generator(7);
  const live: Buffer[] = [];
  for (let i = 0; i < 1500; i++)
    live[below(64)] = Buffer.allocUnsafeSlow(1024 + below(256 * 1024)).fill(i & 255);
  parentPort?.postMessage(live[0]);
}
