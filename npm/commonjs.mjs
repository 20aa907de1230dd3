// Makes what `require('malloc-backend')` finds. The modules in src are CommonJS and serve `import` too, so that there is one
// copy of each class and registry in a process; only index.ts is an ES module, for the names that it exports. This is the
// same list for CommonJS, and its types.

import { copyFileSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');

await build({
  entryPoints: [join(root, 'index.ts')],
  outfile: join(dist, 'index.cjs'),
  format: 'cjs',
  platform: 'node',
  logLevel: 'warning',
});
copyFileSync(join(dist, 'index.d.ts'), join(dist, 'index.d.cts'));
// It says that the modules are CommonJS.
copyFileSync(join(root, 'src/package.json'), join(dist, 'src/package.json'));
// TypeScript emits no declarations that were written as such.
copyFileSync(join(root, 'src/native/binding.d.ts'), join(dist, 'src/native/binding.d.ts'));
// A bundler without a plugin for JSON takes no `require` of JSON in: the schemas are modules too.
const files = readdirSync(join(dist, 'src'), { recursive: true, encoding: 'utf8' });
for (const file of files.map((name) => join(dist, 'src', name))) {
  if (file.endsWith('.schema.json'))
    writeFileSync(`${file}.js`, `module.exports = ${readFileSync(file, 'utf8').trim()};\n`);
  if (!file.endsWith('.js')) continue;
  const text = readFileSync(file, 'utf8');
  const changed = text.replace(/(require\("[^"]*\.schema\.json)("\))/g, '$1.js$2');
  if (changed !== text) writeFileSync(file, changed);
}
