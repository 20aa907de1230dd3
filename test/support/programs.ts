// Real programs, each with a fixture that stops in the middle: it says `ready` and waits for what comes on stdin.

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { compiled } from './native.js';
import { ended, type Outcome, start } from './run.js';
import { root } from './shims.js';

export interface Program {
  name: string;
  command: () => Promise<string[]>;
  /** In an empty folder, before the program starts. */
  prepare?: (folder: string) => void;
  /** What it reads before it is ready, and after it. */
  first: string;
  rest: string;
  /** What it ends with where nothing is switched: proof that the fixture itself ran to its end. */
  code: number;
}

export function onPath(name: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** A program of test/fixtures. */
export const fixture = (name: string) => join(root, 'test', 'fixtures', name);
const quiet = { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' };

/** A history for git fast-import: some hundred blobs and commits, and questions whose answers go to stdout. */
function history(): { first: string; rest: string } {
  const blob = (mark: number) => {
    const text = Array.from({ length: mark * 3 }, (_, i) => `line ${(i * mark) % 997} of ${mark}\n`).join('');
    return `blob\nmark :${mark}\ndata ${text.length}\n${text}\n`;
  };
  const commit = (mark: number) =>
    `commit refs/heads/main\nmark :${1000 + mark}\ncommitter A <a@example.org> ${1700000000 + mark} +0000\n` +
    `data 5\nno. ${mark % 10}\n` +
    `M 100644 :${mark} folder-${mark % 7}/file-${mark}\nM 100644 :${mark} latest\n\n`;
  const each = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => blob(from + i) + commit(from + i)).join('');
  const questions = (mark: number) =>
    `get-mark :${1000 + mark}\ncat-blob :${mark}\nls :${1000 + mark} latest\n`;
  return {
    first: `${each(1, 200)}${questions(150)}progress ready\n`,
    rest: `${each(200, 400)}${questions(399)}checkpoint\n\nprogress done\ndone\n`,
  };
}

export const programs: Program[] = [
  {
    name: 'node',
    command: async () => [process.execPath, fixture('node.mjs')],
    first: '',
    rest: 'go\n',
    code: 3,
  },
  {
    name: 'python3',
    command: async () => ['python3', fixture('python.py')],
    first: '',
    rest: 'go\n',
    code: 4,
  },
  { name: 'perl', command: async () => ['perl', fixture('perl.pl')], first: '', rest: 'go\n', code: 6 },
  { name: 'bash', command: async () => ['bash', fixture('bash.sh')], first: '', rest: 'go\n', code: 8 },
  {
    name: 'git',
    command: async () => ['git', 'fast-import', '--quiet', '--done'],
    prepare: (folder) => {
      spawnSync('git', ['init', '--quiet', '--bare', folder], { env: { ...process.env, ...quiet } });
    },
    ...history(),
    code: 0,
  },
  {
    name: 'C++',
    command: async () => [await compiled('runtime'), '--wait'],
    first: '',
    rest: 'go\n',
    code: 5,
  },
];

/**
 * Runs the program to its end; `look` is called with its process id while it waits. The words before the program are
 * what starts it, if it does not start by itself.
 */
export async function session(
  program: Program,
  before: string[],
  look: (pid: number) => Promise<void>,
): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), 'malloc-backend-'));
  try {
    program.prepare?.(folder);
    const [command = '', ...args] = [...before, ...(await program.command())];
    const child = start(command, args, { cwd: folder, env: quiet });
    const outcome = ended(child);
    child.stdin?.on('error', () => {}); // it ended early: its outcome says so
    child.stdin?.write(program.first);
    const ready = new Promise<void>((resolve) => {
      createInterface(child.stdout as Readable).on('line', (line) => {
        if (line.endsWith('ready')) resolve();
      });
    });
    await Promise.race([ready, once(child, 'close')]);
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      await look(child.pid);
    }
    child.stdin?.end(program.rest);
    return await outcome;
  } finally {
    await rm(folder, { recursive: true });
  }
}
