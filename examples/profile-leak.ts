// A service that leaks native memory, and what its heap profile says. A cache of thumbnails never forgets one.
//
//   npm run build
//   node dist/examples/profile-leak.js 300
//   go tool pprof -top heap.pb.gz           or drop heap.pb.gz on https://www.speedscope.app

import { writeFileSync } from 'node:fs';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
// In a program of your own: 'malloc-backend'.
import { heapProfile } from '../index.js';

const thumbnails = new Map<string, Buffer>();

/** Stands in for an image library: the result is native memory. */
function renderThumbnail(url: string): Buffer {
  return Buffer.alloc(200_000, url);
}

function thumbnailOf(url: string): Buffer {
  let thumbnail = thumbnails.get(url);
  if (thumbnail === undefined) {
    thumbnail = renderThumbnail(url);
    // The leak: each `?session=…` is another key.
    thumbnails.set(url, thumbnail);
  }
  return thumbnail;
}

const server = createServer((request, response) => response.end(thumbnailOf(request.url ?? '/')));
await new Promise<void>((resolve) => server.listen(0, resolve));
const { port } = server.address() as AddressInfo;

heapProfile.start();
for (let session = 0; session < Number(process.argv[2] ?? 300); session++) {
  await new Promise((resolve) =>
    get({ port, path: `/cat?session=${session}` }, (reply) => reply.resume().on('end', resolve)),
  );
}
writeFileSync('heap.pb.gz', await heapProfile.stop());
console.log(`${thumbnails.size} thumbnails; the profile is in heap.pb.gz`);
server.close();
server.closeAllConnections();
