// An image service: a large JPEG is resized again and again, four requests in flight.
import sharp from 'sharp';
import { amount, reportRssAfterIdle } from './idle.js';

const file = process.argv[3];
if (file === undefined) throw new Error('usage: image.js <resizes> <file.jpg>');

// sharp uses more threads when it finds jemalloc: pinned, all backends do the same work.
sharp.concurrency(1);
sharp.cache(false);

let left = amount(200);
async function serve(): Promise<void> {
  while (left-- > 0) await sharp(file).resize(1000).jpeg().toBuffer();
}
await Promise.all([serve(), serve(), serve(), serve()]);
await reportRssAfterIdle();
