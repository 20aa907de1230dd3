// Makes the types that `require` finds: one .d.cts beside each .d.ts that package.json exports.
//
// Node can require an ES module; TypeScript before 5.8, and later ones with `module` node16 or node18, refuse it (TS1479)
// unless what they find is CommonJS by its name. The types are not there twice: these refer to the others, so that a class
// is the same one to both kinds of callers.

import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

for (const { types, default: module } of Object.values(exports)) {
  if (types === undefined) continue;
  // Parsed and not imported: `register` does something.
  const { metafile } = await build({
    entryPoints: [join(root, module)],
    absWorkingDir: root,
    format: 'esm',
    write: false,
    metafile: true,
    outdir: 'dist',
  });
  const names = Object.values(metafile.outputs).flatMap((output) => output.exports);
  const from = `'./${basename(module)}' with { 'resolution-mode': 'import' }`;
  const lines = names.flatMap((name) => [
    `export declare const ${name}: typeof esm.${name};`,
    // A constant hides the type of its name, which a class and the enum have.
    ...(/^[A-Z]/.test(name) ? [`export type ${name} = esm.${name};`] : []),
  ]);
  const text =
    names.length === 0
      ? ['export {};']
      : [`import type * as esm from ${from};`, `export type * from ${from};`, ...lines];
  writeFileSync(join(root, types.require), `${text.join('\n')}\n`);
}
