import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { compile, root, scratch } from './measure.js';
import { environmentOf, variants } from './subjects.js';
import { markdown, megabytes, type Options, ratio, type Table } from './table.js';

/** A process that took memory, freed it, and does nothing. */
interface Found {
  pid: number;
  peakKb: number;
}

interface Program {
  command: string;
  args: string[];
  /** Where it is not the program itself that says what it did: how it is asked. */
  ask?: { socket: string };
}

interface Workers {
  title: string;
  /** What does the same in a process that nobody forked. */
  unforked: Program;
  forked: ReadonlyMap<string, Program>;
}

const IDLE = 8_000;
const FREED = /^freed (\d+) (\d+)$/m;
const fixture = (name: string): string => join(root, 'test/fixtures', name);

function programs(): Workers[] {
  const freed = compile('../../test/c/freed', { as: 'freed', flags: ['-fno-builtin'] });
  const python = (...args: string[]): Program => ({
    command: '/usr/bin/python3',
    args: [fixture('spike.py'), ...args],
  });
  const workers: Workers[] = [
    {
      title: 'C',
      unforked: { command: freed, args: ['first'] },
      forked: new Map([
        ['forked', { command: freed, args: ['child'] }],
        ['forked by a thread', { command: freed, args: ['thread'] }],
        ['daemon', { command: freed, args: ['daemon'] }],
      ]),
    },
    {
      title: "Python's multiprocessing",
      unforked: python('first', 'multiprocessing.pool', 'multiprocessing.spawn'),
      forked: new Map(['fork', 'forkserver', 'spawn'].map((mode) => [mode, python(mode)])),
    },
    {
      title: 'Node',
      unforked: { command: process.execPath, args: ['--expose-gc', fixture('cluster.mjs'), 'first'] },
      forked: new Map([['cluster', { command: process.execPath, args: [fixture('cluster.mjs')] }]]),
    },
  ];
  const gunicorn = installed('gunicorn');
  if (gunicorn !== undefined) {
    const socket = scratch(`gunicorn.${process.pid}`);
    const args = ['-w', '1', '--chdir', join(root, 'test/fixtures'), 'spike:application'];
    workers.push({
      title: 'gunicorn',
      // What is loaded is a part of what stays.
      unforked: python('first', 'gunicorn.app.wsgiapp', 'gunicorn.workers.sync'),
      forked: new Map([['gunicorn -w 1', { command: gunicorn, args, ask: { socket } }]]),
    });
  }
  return workers;
}

function installed(program: string): string | undefined {
  try {
    return execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

/** What the server at the socket says, once it listens. */
async function answer(socketPath: string, child: ChildProcess): Promise<string> {
  while (child.exitCode === null && child.signalCode === null) {
    const [response] = await once(request({ socketPath, path: '/' }).end(), 'response').catch(() => []);
    if (response !== undefined) return text(response);
    await sleep(50);
  }
  throw new Error('the server ended');
}

/** Reads the output of a program until it is complete. */
function saying(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout!.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (FREED.test(output)) resolve(output);
    });
    child.stdout!.on('end', () => reject(new Error(`it said only: ${output}`)));
  });
}

/** Runs it, and says what its worker had in memory at the peak, and eight seconds later, in KiB. */
async function measure({ command, args, ask }: Program, env: NodeJS.ProcessEnv): Promise<[number, number]> {
  const socket = ask && `${ask.socket}.${Math.random()}`;
  const all = socket === undefined ? args : [...args, '-b', `unix:${socket}`];
  const child = spawn(command, all, { env, detached: true, stdio: ['pipe', 'pipe', 'ignore'] });
  try {
    const said = await (socket === undefined ? saying(child) : answer(socket, child));
    const [, pid, peakKb] = (FREED.exec(said) ?? []).map(Number);
    const found: Found = { pid: pid!, peakKb: peakKb! };
    await sleep(IDLE);
    const status = readFileSync(`/proc/${found.pid}/status`, 'utf8');
    return [found.peakKb, Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1])];
  } finally {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, 'SIGKILL');
    if (socket !== undefined) rmSync(socket, { force: true });
  }
}

async function* run({ quick, program, progress }: Options): AsyncIterable<string> {
  for (const { title, unforked, forked } of programs()) {
    if (program !== undefined && program !== title) continue;
    const all = new Map([['unforked', unforked], ...forked]);
    const names = [...all.keys()];
    const rows: string[][] = [];
    for (const { backend, preset, name } of variants()) {
      if (quick && preset !== 'balanced') continue;
      progress(`${title}: ${name}`);
      const env = environmentOf(backend, preset);
      // At the same time: they do nothing but wait, and memory is what is measured.
      const found = await Promise.all([...all.values()].map((program) => measure(program, env)));
      const after = found.map(([, idle]) => idle);
      const most = ratio(Math.max(...after.slice(1)) / after[0]!);
      rows.push([
        backend,
        preset,
        ...found.map(([peak, idle]) => `${megabytes(peak)} → ${megabytes(idle)}`),
        most,
      ]);
    }
    yield `### ${title}\n\n${markdown(['backend', 'preset', ...names, 'largest ÷ unforked'], rows)}`;
  }
}

export const fork: Table = {
  title: 'RSS of a worker that takes 200 MiB and frees them: at the peak, and after 8 idle seconds',
  run,
};
