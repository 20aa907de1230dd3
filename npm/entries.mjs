// Makes each platform package's index.js from the files that its package.json lists. It names every one of them by a path
// from its own folder: so the tools that trace files (@vercel/nft) find them, and the root finds the folder.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

for (const entry of readdirSync(import.meta.dirname, { withFileTypes: true })) {
  if (!entry.isDirectory()) continue;
  const folder = join(import.meta.dirname, entry.name);
  const { files, main } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const binaries = files.filter((/** @type {string} */ file) => /^malloc-backend|^lib/.test(file));
  const lines = binaries.map((/** @type {string} */ file) => `  path.join(__dirname, '${file}'),\n`);
  writeFileSync(
    join(folder, main),
    `'use strict';\nconst path = require('path');\n\nexports.folder = __dirname;\nexports.files = [\n${lines.join('')}];\n`,
  );
}
