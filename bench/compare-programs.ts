// npm run compare:programs -- [program…] [--rounds N] [--page]
//
// Compares the allocators on the programs in bench/services, and writes docs/results.md. With names of programs, the page of
// these programs is printed instead.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type CompareOptions, compare, readResults } from '../index.js';
import { quoted } from '../src/compare/export/markdown.js';
import { root, scratch } from './measure.js';
import { photo } from './photo.js';
import { picture } from './picture.js';
import { type Measured, resultsPage } from './results-page.js';

const folder = join(root, 'bench/services');
const pictures = join(root, 'docs/results');
const venv = scratch('services-venv');
const python = join(venv, 'bin/python');
const FIRST_PORT = 18_700;

interface Program {
  title: string;
  command: () => Promise<string[]> | string[];
  /** The requests that a service answers, eight at a time, before it idles. Other programs end by themselves. */
  requests?: number;
}

const node = (name: string, ...args: string[]): string[] => [process.execPath, join(folder, name), ...args];

const PROGRAMS: Readonly<Record<string, Program>> = {
  image: {
    title: 'sharp: three sizes of a 12-megapixel photo for each request',
    command: async () => node('image.mjs', await photo()),
    requests: 24,
  },
  api: { title: 'Fastify: a JSON API', command: () => node('api.mjs'), requests: 2000 },
  ssr: { title: 'React: server-side rendering', command: () => node('ssr.mjs'), requests: 300 },
  sqlite: { title: 'better-sqlite3', command: () => node('sqlite.mjs'), requests: 200 },
  gzip: { title: 'zlib, JSON and Buffers', command: () => node('gzip.mjs'), requests: 24 },
  tables: {
    title: 'FastAPI on uvicorn, with pandas',
    command: () => [python, join(folder, 'tables.py')],
    requests: 16,
  },
  frames: {
    title: 'FastAPI on uvicorn, with polars',
    command: () => [python, join(folder, 'frames.py')],
    requests: 120,
  },
  compile: {
    title: 'TypeScript 6 compiles this package',
    command: () => node('compile.mjs', join(root, 'src')),
  },
  bundle: { title: 'rolldown', command: () => node('bundle.mjs') },
  matrices: {
    title: 'FastAPI on uvicorn, with numpy',
    command: () => [python, join(folder, 'matrices.py')],
    requests: 12,
  },
  prefork: {
    title: 'A Python task queue with four forked workers',
    command: () => [python, join(folder, 'prefork.py')],
    requests: 12,
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

const fileOf = (name: string): string => scratch(`results-${name}.json`);

/** Compares on one program, in this process. */
async function compareOn(name: string, rounds: number): Promise<void> {
  const program = PROGRAMS[name]!;
  const port = FIRST_PORT + Object.keys(PROGRAMS).indexOf(name);
  const url = `http://127.0.0.1:${port}/`;
  const load = node('load.mjs').map(quoted).join(' ');
  const options: CompareOptions = {
    command: await program.command(),
    runs: rounds,
    env: { ...process.env, PORT: String(port) },
    file: fileOf(name),
    ...(program.requests === undefined
      ? {}
      : { service: { ready: url, load: `${load} ${url} ${program.requests}`, idle: 5 } }),
  };
  for await (const event of compare(options)) {
    if (event.type === 'end') console.error(`${name}: ${event.results.advice?.sentence ?? 'no advice'}`);
    if (event.type === 'warning') console.error(`${name}: ${event.warning.message}`);
    if (event.type === 'run') console.error(`${name}: round ${event.run.round} ${event.run.subject}`);
  }
}

/** The processors that this process may use. */
function processors(): string[] {
  const status = readFileSync('/proc/self/status', 'utf8');
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '0';
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, at) => String(first + at));
  });
}

/** Compares on all of the programs: one for each processor at a time, which it has for itself. */
async function compareOnEach(names: readonly string[], rounds: number): Promise<void> {
  const waiting = [...names];
  const work = async (processor: string): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const words = [process.execPath, import.meta.filename, '--here', name, '--rounds', String(rounds)];
      const child = spawn('taskset', ['-c', processor, ...words], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      const [code] = (await once(child, 'close')) as [number | null];
      if (code !== 0) throw new Error(`the comparison on ${name} ended with ${code}`);
    }
  };
  await Promise.all(processors().map(work));
}

function measured(name: string): Measured {
  const results = readResults(fileOf(name));
  return { name, title: PROGRAMS[name]!.title, results, picture: picture(results) };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '8' },
    // Compares on the one program, in this process.
    here: { type: 'string' },
    // Runs no program: writes the page from the results of the last comparison.
    page: { type: 'boolean', default: false },
  },
});
const named = values.here === undefined ? positionals : [values.here];
const rounds = Number(values.rounds);
if (named.some((name) => !Object.hasOwn(PROGRAMS, name)) || !(rounds >= 1)) {
  console.error(
    `usage: npm run compare:programs -- [${Object.keys(PROGRAMS).join('|')}…] [--rounds N] [--page]`,
  );
  process.exit(2);
}
if (values.here !== undefined) await compareOn(values.here, rounds);
else {
  const chosen = positionals.length > 0 ? positionals : Object.keys(PROGRAMS);
  if (!values.page) {
    install();
    await photo();
    await compareOnEach(chosen, rounds);
  }
  const all = chosen.map(measured);
  const page = resultsPage(all);
  if (positionals.length > 0) process.stdout.write(page);
  else {
    writeFileSync(join(root, 'docs/results.md'), page);
    mkdirSync(pictures, { recursive: true });
    for (const { name, picture: drawn } of all)
      if (drawn !== undefined) writeFileSync(join(pictures, `${name}.svg`), drawn);
  }
}
