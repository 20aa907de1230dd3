// The platform packages in the root's optionalDependencies: folders in a checkout, so that it runs on what it built;
// their versions in the tarball. npm runs this before and after it packs.
//
//   node npm/manifest.mjs versions | folders

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const file = join(root, 'package.json');
const mode = process.argv[2];
if (mode !== 'versions' && mode !== 'folders') {
  console.error('usage: node npm/manifest.mjs versions | folders');
  process.exit(2);
}

const manifest = JSON.parse(readFileSync(file, 'utf8'));
const folders = readdirSync(join(root, 'npm'), { withFileTypes: true }).filter((entry) =>
  entry.isDirectory(),
);
for (const { name: folder } of folders) {
  const { name, version } = JSON.parse(readFileSync(join(root, 'npm', folder, 'package.json'), 'utf8'));
  if (version !== manifest.version) {
    console.error(
      `npm/${folder} is version ${version}, and the root ${manifest.version}; they are released together`,
    );
    process.exit(1);
  }
  manifest.optionalDependencies[name] = mode === 'versions' ? version : `file:npm/${folder}`;
}
writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`);
