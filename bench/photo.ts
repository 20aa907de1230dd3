import { existsSync } from 'node:fs';
import sharp from 'sharp';
import { scratch } from './measure.js';

/** A 12-megapixel JPEG, as a phone takes it: smooth areas with seeded noise. Made once. */
export async function photo(): Promise<string> {
  const file = scratch('photo.jpg');
  if (existsSync(file)) return file;
  const [width, height] = [4000, 3000];
  const pixels = Buffer.allocUnsafe(width * height * 3);
  let noise = 1;
  for (let at = 0; at < pixels.length; at++) {
    noise = (Math.imul(noise, 1664525) + 1013904223) >>> 0;
    const pixel = Math.floor(at / 3);
    pixels[at] =
      96 + 80 * Math.sin((pixel % width) / 190 + (at % 3)) * Math.cos(pixel / width / 130) + (noise >>> 28);
  }
  await sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 88 })
    .toFile(file);
  return file;
}
