// What a process still has in memory once it has freed what it took and does nothing more.

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { until } from './progress.js';
import { ended } from './run.js';

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
