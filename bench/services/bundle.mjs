// Bundles and minifies React's server renderer and a validator with rolldown, ten times, as a watch build does.
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const input = fileURLToPath(new URL('./bundled.mjs', import.meta.url));
let bytes = 0;
for (let round = 0; round < 10; round++) {
  const bundle = await rolldown({ input, platform: 'node', logLevel: 'silent' });
  const { output } = await bundle.generate({ format: 'esm', minify: true });
  bytes = output[0].code.length;
  await bundle.close();
}
console.log(`${bytes} bytes`);
