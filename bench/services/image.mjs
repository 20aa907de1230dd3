// An image service: each request makes three sizes of a 12-megapixel photo.
import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { serve } from './serve.mjs';

// Two of our libraries export `mallctl`, which makes sharp use more threads.
sharp.concurrency(2);
sharp.cache(false);
const photo = readFileSync(process.argv[2]);

serve(async () => {
  const sizes = await Promise.all(
    [1600, 800, 200].map((width) => sharp(photo).resize({ width }).jpeg({ quality: 80 }).toBuffer()),
  );
  return sizes[2];
});
