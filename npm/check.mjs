// Before anything is published: every file that a package lists exists and is in its tarball.
//
//   node npm/check.mjs [folder …]     default: the root and this platform's package

import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { hostPackage } from './host.mjs';

const root = join(import.meta.dirname, '..');
const folders = process.argv.length > 2 ? process.argv.slice(2) : ['.', `npm/${hostPackage()}`];
let missing = 0;

/** @param {string | object} entry @returns {string[]} */
function targets(entry) {
  return typeof entry === 'string' ? [entry] : Object.values(entry).flatMap(targets);
}

/** @param {string} path */
function isFolder(path) {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

for (const folder of folders) {
  const manifest = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
  // Without scripts: the root's would build, and what is checked is what is there.
  const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: join(root, folder),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const reply = JSON.parse(output);
  // npm 12 keys the list by name.
  const [{ files }] = Array.isArray(reply) ? reply : Object.values(reply);
  const packed = new Set(files.map((/** @type {{ path: string }} */ { path }) => path));
  const listed = [
    ...manifest.files.filter(
      (/** @type {string} */ file) => !/[*!]/.test(file) && !isFolder(join(root, folder, file)),
    ),
    ...[
      manifest.main,
      manifest.types,
      ...targets(manifest.exports ?? {}),
      ...Object.values(manifest.bin ?? {}),
    ].filter(Boolean),
    'README.md',
    'package.json',
  ].map((file) => file.replace(/^\.\//, ''));
  const absent = [...new Set(listed)].filter((file) => !packed.has(file));
  for (const file of absent) console.error(`${manifest.name}: ${file} is listed and not in the tarball`);
  missing += absent.length;
  if (absent.length === 0) console.log(`${manifest.name}: ${packed.size} files, all that is listed is there`);
}
process.exit(missing === 0 ? 0 : 1);
