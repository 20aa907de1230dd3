// npm run compare:programs -- [program…] [--budget MINUTES] [--out FILE]
//
// Compares the allocators on the programs in bench/services, and writes docs/results.md. Without --out, a part of the programs
// or another budget is printed only.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type CompareOptions, type CompareResults, compare, renderHtml, renderMarkdown } from '../index.js';
import { root, scratch } from './measure.js';
import { photo } from './photo.js';

const folder = join(root, 'bench/services');
const venv = scratch('services-venv');
const python = join(venv, 'bin/python');
const PORT = 18_700;

interface Program {
  title: string;
  command: () => Promise<string[]> | string[];
  /** A service is loaded by HTTP, and then idles. Other programs end by themselves. */
  isService: boolean;
}

const node = (name: string, ...args: string[]): string[] => [process.execPath, join(folder, name), ...args];

const PROGRAMS: Readonly<Record<string, Program>> = {
  image: {
    title: 'sharp: three sizes of a 12-megapixel photo for each request',
    command: async () => node('image.mjs', await photo()),
    isService: true,
  },
  api: { title: 'Fastify: a JSON API', command: () => node('api.mjs'), isService: true },
  ssr: { title: 'React: server-side rendering', command: () => node('ssr.mjs'), isService: true },
  sqlite: { title: 'better-sqlite3', command: () => node('sqlite.mjs'), isService: true },
  gzip: { title: 'zlib, JSON and Buffers', command: () => node('gzip.mjs'), isService: true },
  tables: {
    title: 'FastAPI on uvicorn, with pandas',
    command: () => [python, join(folder, 'tables.py')],
    isService: true,
  },
  frames: {
    title: 'FastAPI on uvicorn, with polars',
    command: () => [python, join(folder, 'frames.py')],
    isService: true,
  },
  compile: {
    title: 'TypeScript 6 compiles this package',
    command: () => node('compile.mjs', join(root, 'src')),
    isService: false,
  },
  bundle: { title: 'rolldown', command: () => node('bundle.mjs'), isService: false },
  matrices: { title: 'numpy', command: () => [python, join(folder, 'matrices.py')], isService: false },
  prefork: {
    title: 'A Python task queue with four forked workers',
    command: () => [python, join(folder, 'prefork.py')],
    isService: false,
  },
};

/** The libraries of the programs, from the registries. */
function install(): void {
  const stdio = ['ignore', 'ignore', 'inherit'] as ['ignore', 'ignore', 'inherit'];
  if (!existsSync(join(folder, 'node_modules'))) execFileSync('npm', ['ci'], { cwd: folder, stdio });
  if (existsSync(python)) return;
  execFileSync('python3', ['-m', 'venv', venv], { stdio });
  execFileSync(python, ['-m', 'pip', 'install', '-q', '-r', join(folder, 'requirements.txt')], { stdio });
}

async function measured(name: string, program: Program, budgetMs: number): Promise<CompareResults> {
  const url = `http://127.0.0.1:${PORT}/`;
  const options: CompareOptions = {
    command: await program.command(),
    budgetMs,
    env: { ...process.env, PORT: String(PORT) },
    file: scratch(`results-${name}.json`),
    ...(program.isService
      ? { service: { ready: url, load: url, connections: 8, duration: 8, idle: 8 } }
      : {}),
  };
  let results: CompareResults | undefined;
  for await (const event of compare(options)) {
    if (event.type === 'end') results = event.results;
    if (event.type === 'warning') console.error(`${name}: ${event.warning.message}`);
    if (event.type === 'run') console.error(`${name}: round ${event.run.round} ${event.run.subject}`);
  }
  return results!;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { budget: { type: 'string', default: '15' }, out: { type: 'string' } },
});
const unknown = positionals.find((name) => !Object.hasOwn(PROGRAMS, name));
const minutes = Number(values.budget);
if (unknown !== undefined || !(minutes > 0)) {
  console.error(
    `usage: npm run compare:programs -- [${Object.keys(PROGRAMS).join('|')}…] [--budget MINUTES] [--out FILE]`,
  );
  process.exit(2);
}
install();
const chosen = positionals.length > 0 ? positionals : Object.keys(PROGRAMS);
const isWhole = positionals.length === 0 && values.budget === '15';
const parts: string[] = [];
for (const name of chosen) {
  const program = PROGRAMS[name]!;
  const results = await measured(name, program, minutes * 60_000);
  const pictures = scratch('pictures');
  mkdirSync(pictures, { recursive: true });
  writeFileSync(join(pictures, `${name}.html`), renderHtml(results));
  parts.push(`## ${program.title}\n\n${renderMarkdown(results).trim()}`);
  console.error(`${name}: ${results.advice?.sentence ?? 'no advice'}`);
}
const page = `# Results\n\nMade by \`npm run compare:programs\`. [How compare measures and decides](compare.md).\n\n${parts.join('\n\n')}\n`;
const out = values.out ?? (isWhole ? join(root, 'docs/results.md') : undefined);
if (out === undefined) process.stdout.write(page);
else writeFileSync(out, page);
