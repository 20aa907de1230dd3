// A JSON service: documents are parsed, changed, written, and compressed for the wire. Most of the memory is
// V8's own heap, which no malloc serves; the buffers and zlib's state are what a backend can change.
import { gunzipSync, gzipSync } from 'node:zlib';
import { amount, generator, reportRssAfterIdle } from './idle.js';

interface Row {
  id: number;
  name: string;
  tags: string[];
  seen?: number;
}

const below = generator();
const row = (id: number): Row => ({
  id,
  name: `row ${below(1e9).toString(36)}`,
  tags: Array.from({ length: 1 + below(5) }, () => below(1e6).toString(36)),
});
const store: Buffer[] = [];
for (let i = 0; i < 40; i++) {
  store.push(
    gzipSync(JSON.stringify(Array.from({ length: 500 + below(4000) }, (_, id) => row(id))), { level: 1 }),
  );
}
for (let i = amount(400); i > 0; i--) {
  const slot = below(store.length);
  const rows = JSON.parse(gunzipSync(store[slot]!).toString()) as Row[];
  for (const each of rows) each.seen = i;
  store[slot] = gzipSync(JSON.stringify(rows), { level: 1 });
}
store.length = 0;
await reportRssAfterIdle();
