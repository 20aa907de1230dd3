// What a process still has in memory once it has freed what it took and does nothing more.

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import * as tools from '../fixtures-ts/tools.js';
import { fixture } from './programs.js';
import { until } from './progress.js';
import { ended, kill, start } from './run.js';

/** KiB of a process that are in memory. */
function rss(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** What a program says of the process that took memory and has freed it: its id, and its KiB at the peak. */
export const FREED = /^freed (\d+) (\d+)$/m;

/** Waits until the process that {@link FREED} found is at a quarter of its peak. */
export async function freed([, pid, peak]: RegExpExecArray): Promise<void> {
  assert.ok(Number(peak) > 150 << 10, `no spike: ${peak} KiB`);
  await until(`process ${pid} to give memory back`, () => rss(Number(pid)) <= Number(peak) / 4);
}

/** Waits for that of a program that says so. Then the program's input ends, and it must end with 0. */
export async function givenBack(child: ChildProcess): Promise<void> {
  const outcome = ended(child);
  const spike = new Promise<RegExpExecArray | null>((resolve) => {
    let output = '';
    const out = child.stdout as Readable;
    out.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      const match = FREED.exec(output);
      if (match !== null) resolve(match);
    });
    out.on('end', () => resolve(null));
  });
  try {
    await freed((await spike) ?? assert.fail((await outcome).stderr));
  } finally {
    child.stdin?.end();
  }
  const { code, stderr } = await outcome;
  assert.equal(code, 0, stderr);
}

/** A forked worker of gunicorn gives back what a request has freed. `words` are those before a program's. */
export async function gunicornGivesBack(words: readonly string[], gunicorn: string): Promise<void> {
  const socketPath = tools.scratch(`gunicorn-${words[1]}.sock`);
  const options = ['-w', '1', '-b', `unix:${socketPath}`, '--chdir', dirname(fixture('spike.py'))];
  const server = start(tools.native, [...words, gunicorn, ...options, 'spike:application']);
  const outcome = ended(server);
  try {
    const answer = await until('gunicorn', async () => {
      const asked = request({ socketPath, path: '/' }).end();
      const [response] = await once(asked, 'response').catch(() => []);
      return response === undefined ? undefined : text(response);
    });
    await freed(FREED.exec(answer) ?? assert.fail(answer));
    server.kill('SIGTERM');
    assert.equal((await outcome).code, 0);
  } finally {
    kill(server);
  }
}
