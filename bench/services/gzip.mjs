// A gateway: each request inflates a body, parses the JSON, changes it and deflates the answer; with Buffers of all sizes.
import { gunzip, gzip } from 'node:zlib';
import { promisify } from 'node:util';
import { serve } from './serve.mjs';

const [inflate, deflate] = [promisify(gunzip), promisify(gzip)];
const bodies = await Promise.all(
  [50, 2000, 200000].map((rows) =>
    deflate(JSON.stringify(Array.from({ length: rows }, (_, id) => ({ id, text: `line ${id} of ${rows}` })))),
  ),
);

serve(async (number) => {
  const body = JSON.parse((await inflate(bodies[number % bodies.length])).toString());
  for (const row of body) row.seen = number;
  const parts = body.map((row) => Buffer.from(JSON.stringify(row)));
  return deflate(Buffer.concat(parts));
});
