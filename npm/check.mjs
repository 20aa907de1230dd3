// Before anything is published: every file that a package lists exists and is in its tarball.
//
//   node npm/check.mjs [--release] [folder …]     default: the root and this platform's package
//
// With --release also that a package for glibc needs none that is newer than its README says. What was built on a newer
// system does; the workflow builds on an old one. A symbol without a version tells no glibc that it needs: a linker that
// knows no versions (one without libc does) leaves __libc_single_threaded so, which glibc 2.31 lacks. So the check refuses
// every such symbol that is neither weak nor in each glibc.

import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { hostPackage } from './host.mjs';

const root = join(import.meta.dirname, '..');
const { values, positionals } = parseArgs({
  options: { release: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const folders = positionals.length > 0 ? positionals : ['.', `npm/${hostPackage()}`];
let findings = 0;

/** @param {string} finding */
function report(finding) {
  console.error(finding);
  findings += 1;
}

/** What every glibc has, and a compiler calls without being asked: the preloadable libraries without libc name them. */
const IN_EVERY_GLIBC = new Set(['memcpy', 'memmove', 'memset', 'memcmp', 'bcmp', 'strlen']);

/** @param {string[]} args */
const readelf = (...args) => execFileSync('readelf', ['-W', ...args], { encoding: 'utf8' });

/** The symbols that a file does not start without, and whose version it does not say.
 * @param {string} file */
function unversioned(file) {
  return readelf('--dyn-syms', file)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , , bind, , section]) => bind === 'GLOBAL' && section === 'UND')
    .map(([, , , , , , , name = '']) => name)
    .filter((name) => !name.includes('@') && !IN_EVERY_GLIBC.has(name));
}

/** The newest glibc whose functions a file names.
 * @param {string} file */
function neededGlibc(file) {
  const needs = readelf('-V', file);
  const versions = [...needs.matchAll(/Name: GLIBC_(\d+)\.(\d+)/g)].map(([, major, minor]) => [
    +major,
    +minor,
  ]);
  return versions.sort(([a, b], [c, d]) => a - c || b - d).at(-1) ?? [0, 0];
}

/** @param {string} folder @param {string[]} files */
function checkGlibc(folder, files) {
  const readme = readFileSync(join(folder, 'README.md'), 'utf8');
  const [, major, minor] = (readme.match(/needs glibc (\d+)\.(\d+) or newer/) ?? []).map(Number);
  if (major === undefined || minor === undefined) return report(`${folder}/README.md names no glibc`);
  for (const file of files.filter((name) => /\.(node|so)$|^malloc-backend$/.test(name))) {
    const [a, b] = neededGlibc(join(folder, file));
    if (a > major || (a === major && b > minor))
      report(`${join(folder, file)} needs glibc ${a}.${b}, and the README says ${major}.${minor}`);
    for (const name of unversioned(join(folder, file)))
      report(`${join(folder, file)} needs ${name} of no version, which glibc ${major}.${minor} may lack`);
  }
}

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
  for (const file of absent) report(`${manifest.name}: ${file} is listed and not in the tarball`);
  if (absent.length === 0) console.log(`${manifest.name}: ${packed.size} files, all that is listed is there`);
  if (values.release && folder.replace(/\/$/, '').endsWith('-gnu'))
    checkGlibc(join(root, folder), manifest.files);
}
process.exit(findings === 0 ? 0 : 1);
