// The licences of what is linked into the binaries, which have to come with them.
//
//   node npm/licences.mjs write    npm/THIRD_PARTY_LICENSES anew, from the crates' own files; after a change of Cargo.lock
//   node npm/licences.mjs check    whether that is what it would write
//   node npm/licences.mjs copy     it and the LICENSE to each platform's package

import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const root = join(import.meta.dirname, '..');
const file = join(import.meta.dirname, 'THIRD_PARTY_LICENSES');
const libraries = [
  'malloc-backend-node',
  'malloc-backend-cli',
  'malloc-backend-shim',
  'malloc-backend-python-hook',
  'malloc-backend-python-profile',
];
/** The sources that a crate bundles, with a licence of their own. */
const bundled = {
  'tikv-jemalloc-sys': 'jemalloc/COPYING',
  'libmimalloc-sys': 'c_src/mimalloc/v2/LICENSE',
};

/** What cargo prints. What it says beside that, such as that it downloads, is no finding: it is in the error if it fails.
 * @param {string[]} args */
const cargo = (...args) =>
  execFileSync('cargo', [...args, '--locked', '--all-features'], {
    cwd: root,
    encoding: /** @type {const} */ ('utf8'),
    maxBuffer: 2 ** 26,
    stdio: ['ignore', 'pipe', 'pipe'],
  });

function notices() {
  const [, ...parts] = readFileSync(join(import.meta.dirname, 'notices.txt'), 'utf8').split(
    /^=== (.+) ===$/m,
  );
  return new Map(parts.flatMap((name, at) => (at % 2 === 0 ? [[name, parts[at + 1].trim()]] : [])));
}

/** @param {string} folder @param {string} licence of a crate, as an SPDX expression */
function texts(folder, licence) {
  const all = readdirSync(folder).filter((name) => /^(licen[cs]e|copying|notice)/i.test(name));
  // Where there is a choice, it is MIT.
  const mit = /\bOR\b|\//.test(licence) ? all.filter((name) => /mit/i.test(name)) : [];
  return (mit.length > 0 ? mit : all).sort().map((name) => join(folder, name));
}

function generate() {
  const { packages } = JSON.parse(cargo('metadata', '--format-version=1'));
  // For every platform: one file serves them all.
  const only = ['--edges=normal,no-proc-macro', '--target=all', '--prefix=none', '--format={p}'];
  const tree = cargo('tree', ...only, ...libraries.flatMap((library) => ['-p', library]));
  const linked = new Set(tree.split('\n').map((line) => line.split(' ', 2).join(' ')));
  const byHand = notices();
  /** Who has the same text is named above it together. @type {Map<string, string[]>} */
  const sections = new Map();
  for (const { name, version, license, manifest_path: manifest, source } of packages) {
    if (source === null || !linked.has(`${name} v${version}`)) continue;
    const folder = dirname(manifest);
    const files = texts(folder, license);
    if (name in bundled) files.push(join(folder, bundled[name]));
    const kept = [...byHand].find(([names]) => names.split(' ').includes(name))?.[1];
    const all = [
      ...files.map((each) => readFileSync(each, 'utf8').trim()),
      ...(kept === undefined ? [] : [kept]),
    ];
    if (all.length === 0)
      throw new Error(`${name} has no licence file; put its licence into npm/notices.txt`);
    const text = all.join('\n\n').replaceAll('\r', '');
    sections.set(text, [...(sections.get(text) ?? []), `${name} ${version} (${license})`]);
  }
  const rust = 'The Rust standard library';
  sections.set(byHand.get(rust), [rust]);
  const rule = '='.repeat(80);
  const intro =
    'The licences of what is linked into the binaries of malloc-backend: the crates with the allocators that they\n' +
    'bundle, and the Rust standard library. No binary has all of them.\n' +
    'Where there is a choice of licences, MIT is taken.';
  const parts = [...sections].map(([text, names]) => `${rule}\n${names.join('\n')}\n${rule}\n\n${text}`);
  return `${[intro, ...parts].join('\n\n')}\n`;
}

const mode = process.argv[2];
if (mode === 'write') {
  writeFileSync(file, generate());
} else if (mode === 'check') {
  const [is, should] = [existsSync(file) ? readFileSync(file, 'utf8') : '', generate()];
  if (is !== should) {
    const names = should.match(/^\S+ \d\S* \(.+\)$/gm) ?? [];
    const missing = names.filter((name) => !is.includes(`${name}\n`));
    const what = missing.length > 0 ? `lacks ${missing.join(', ')}` : 'is not what the crates say';
    console.error(
      `npm/THIRD_PARTY_LICENSES ${what}: run node npm/licences.mjs write, and read the difference`,
    );
    process.exit(1);
  }
} else if (mode === 'copy') {
  for (const entry of readdirSync(import.meta.dirname, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const folder = join(import.meta.dirname, entry.name);
    copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
    copyFileSync(file, join(folder, 'THIRD_PARTY_LICENSES'));
  }
} else {
  console.error('usage: node npm/licences.mjs write | check | copy');
  process.exit(2);
}
