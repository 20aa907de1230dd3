import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { environment } from '../index.js';
import { compile, type Cost, median, root, scratch } from './measure.js';
import { neutral } from './subjects.js';
import { markdown, megabytes, type Options, pairedRatio, ratio, seconds, type Table } from './table.js';

/** Whoever frees the memory says so, then does nothing. */
const FREED = /^freed (\d+) (\d+)$/m;
const STALL = /^stall ([\d.]+)$/m;
const IDLE = 3000;

interface Program {
  command: string;
  args: string[];
  /** A server: a request at its socket has a worker of its take the memory. */
  isServer?: boolean;
}

interface Found {
  peakKb: number;
  idleKb: number;
  /** Seconds of CPU time, from the start to the end: memory that goes back earlier makes the end cheaper. */
  cpu: number;
}

const subjects = new Map(
  (['default', 'mimalloc'] as const).flatMap((backend) =>
    [true, false].map((releases) => [
      releases ? backend : `${backend}, idle_release=false`,
      environment(backend, {
        preset: 'low-rss',
        set: { idle_release: String(releases) },
        env: neutral(),
      }),
    ]),
  ),
).set('jemalloc', environment('jemalloc', { preset: 'low-rss', env: neutral() }));

function programs(): Map<string, Program> {
  const script = (name: string): string => join(root, 'bench/programs', name);
  const all = new Map<string, Program>([
    [
      'Node',
      {
        command: process.execPath,
        args: ['--expose-gc', join(root, 'dist/bench/programs/spike.js')],
      },
    ],
    ['Python', { command: '/usr/bin/python3', args: [script('idle.py')] }],
    ['C, eight threads', { command: compile('idle', { flags: ['-fno-builtin'] }), args: [] }],
  ]);
  const gunicorn = installed('gunicorn');
  if (gunicorn !== undefined) {
    const args = ['-w', '1', '--chdir', join(root, 'bench/programs'), 'idle:application'];
    all.set("gunicorn's worker", { command: gunicorn, args, isServer: true });
  }
  return all;
}

function installed(program: string): string | undefined {
  try {
    return execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

/** Waits for what a program says, of its output or at its socket. */
async function said(child: ChildProcess, expected: RegExp, socketPath?: string): Promise<RegExpExecArray> {
  if (socketPath === undefined) {
    return new Promise((resolve, reject) => {
      let output = '';
      child.stdout!.on('data', (chunk: Buffer) => {
        const match = expected.exec((output += chunk.toString()));
        if (match !== null) resolve(match);
      });
      child.stdout!.on('end', () => reject(new Error(`it said only: ${output}`)));
    });
  }
  while (child.exitCode === null && child.signalCode === null) {
    const [response] = await once(request({ socketPath, path: '/' }).end(), 'response').catch(() => []);
    const match = response === undefined ? null : expected.exec(await text(response));
    if (match !== null) return match;
    await sleep(50);
  }
  throw new Error('the server ended');
}

/** Starts the program, asks what is wanted of it, and ends it. Says what the whole run cost. */
async function during<T>(
  { command, args, isServer }: Program,
  env: NodeJS.ProcessEnv,
  ask: (child: ChildProcess, socket?: string) => Promise<T>,
): Promise<[T, Cost]> {
  const socket = isServer === true ? scratch(`idle.${process.pid}.sock`) : undefined;
  const all = socket === undefined ? args : [...args, '-b', `unix:${socket}`];
  launcher ??= compile('measure', { flags: ['-static'] });
  const child = spawn(launcher, ['3', command, ...all], {
    env,
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore', 'pipe'],
  });
  try {
    const cost = text(child.stdio[3] as Readable);
    const answer = await ask(child, socket);
    child.stdin!.end();
    child.stdout!.resume();
    return [answer, JSON.parse(await cost) as Cost];
  } finally {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, 'SIGKILL');
    if (socket !== undefined) rmSync(socket, { force: true });
  }
}

let launcher: string | undefined;

async function measure(program: Program, env: NodeJS.ProcessEnv): Promise<Found> {
  execFileSync(compile('warm'));
  const [found, { cpu }] = await during(program, env, async (child, socket) => {
    const [, pid, peakKb] = (await said(child, FREED, socket)).map(Number);
    await sleep(IDLE);
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
    // A server is told by a signal to its first process.
    if (socket !== undefined) process.kill(field('PPid'), 'SIGTERM');
    return { peakKb: peakKb!, idleKb: field('VmRSS') };
  });
  return { ...found, cpu };
}

async function* run({ runs = 15, quick, program: only, progress }: Options): AsyncIterable<string> {
  const turns = quick ? 1 : runs;
  for (const [title, program] of programs()) {
    if (only !== undefined && only !== title) continue;
    const found = new Map([...subjects.keys()].map((name) => [name, [] as Found[]]));
    for (let turn = 1; turn <= turns; turn++)
      for (const [name, env] of subjects) {
        progress(`${title}: ${name} ${turn}/${turns}`);
        found.get(name)!.push(await measure(program, env));
      }
    const of = (name: string, figure: keyof Found): number =>
      median(found.get(name)!.map((each) => each[figure]));
    const rows = [...subjects.keys()].map((name) => {
      const without = `${name}, idle_release=false`;
      return [
        name,
        megabytes(of(name, 'peakKb')),
        megabytes(of(name, 'idleKb')),
        ratio(of(name, 'idleKb') / of('jemalloc', 'idleKb')),
        seconds(of(name, 'cpu')),
        subjects.has(without)
          ? pairedRatio(found.get(name)!.map(({ cpu }, turn) => [cpu, found.get(without)![turn]!.cpu]))
          : '',
      ];
    });
    yield `### ${title}\n\n${markdown(['low-rss on', 'peak RSS', 'RSS after 3 s idle', '÷ jemalloc', 'CPU', '÷ without'], rows)}`;
  }
  if (only !== undefined && only !== 'stall') return;
  const stall: Program = { command: compile('idle', { flags: ['-fno-builtin'] }), args: ['stall'] };
  const rows: string[][] = [];
  for (const [name, env] of subjects) {
    const all: number[] = [];
    for (let turn = 1; turn <= turns; turn++) {
      progress(`stall: ${name} ${turn}/${turns}`);
      const [longest] = await during(stall, env, async (child) => Number((await said(child, STALL))[1]));
      all.push(longest);
    }
    rows.push([name, ...[median(all), Math.max(...all)].map((value) => `${value.toFixed(2)} ms`)]);
  }
  const longest = 'The longest `free` and `malloc` of a thread that goes on allocating';
  yield `### ${longest}\n\n${markdown(['low-rss on', 'median of the runs', 'longest of all'], rows)}`;
}

export const idle: Table = {
  title: 'A spike of 1 GiB, freed, and what idle release makes of it in three seconds',
  run,
};
