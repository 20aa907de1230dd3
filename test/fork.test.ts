// Forks of a process whose other threads allocate, and allocation in the child (test/c/fork.c), under each shim. A
// child that hangs on a lock which a thread of its parent held is shown with its stack.

import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { compiled } from './support/native.js';
import { whereabouts } from './support/progress.js';
import { ended, start } from './support/run.js';
import { cannotPreload, notGlibc, shim, type Switching, SWITCHING } from './support/shims.js';
import { describe, test } from './support/suite.js';

const FORKS = Number(process.env['MALLOC_BACKEND_TEST_FORKS'] ?? 10_000);
/** Looks, one a second, at which a child may have used no processor time; and seconds of that at the most. */
const PATIENCE = 20;

interface Result {
  done: boolean;
  report: string;
}

/** Runs a program that says something with every so many forks, and "done" with their number at the end. */
async function watched(
  program: string,
  args: string[],
  env: Record<string, string>,
  forks: number,
): Promise<Result> {
  const child = start(program, args, { env });
  const output = ended(child);
  let report = '';
  createInterface(child.stdout as Readable).on('line', (line) => {
    const [, pid] = /^hang (\d+)/.exec(line) ?? [];
    if (pid === undefined) return;
    report += `${line}\n${whereabouts(Number(pid))}\n`;
    child.stdin?.end('\n'); // it has been looked at
  });
  const { code, signal, stdout, stderr } = await output;
  const done = code === 0 && stdout.endsWith(`done ${forks}\n`);
  return { done, report: `${report}${stdout.slice(-500)}${stderr}${signal ?? ''}` };
}

async function fork(env: Record<string, string>, forks: number, mode: string[] = []): Promise<Result> {
  const patience = env['MISTAKE'] === undefined ? PATIENCE : 3;
  return watched(await compiled('fork'), [`${forks}`, `${patience}`, ...mode], env, forks);
}

async function survives(backend: Switching, forks: number, env: Record<string, string> = {}, mode?: string) {
  const all = { LD_PRELOAD: shim(backend), ...env };
  const { done, report } = await fork(all, forks, mode === undefined ? [] : [mode]);
  assert.ok(done, `${backend}: ${report}`);
}

describe('fork beside four allocating threads', { skip: cannotPreload }, () => {
  for (const backend of SWITCHING) {
    test(`${backend}, ${FORKS} times`, () => survives(backend, FORKS));
    test(`${backend}, while threads begin and end`, () => survives(backend, FORKS / 5, {}, 'churn'));
  }

  // As a preset sets them: a thread of the allocator's own, and caches off, so that each call takes a lock.
  const conf = 'background_thread:true,narenas:2,tcache:false,dirty_decay_ms:50,muzzy_decay_ms:0';
  test('jemalloc with a background thread', () => survives('jemalloc', FORKS / 5, { MALLOC_CONF: conf }));
  test('mimalloc that purges at once', () => survives('mimalloc', FORKS / 5, { MIMALLOC_PURGE_DELAY: '0' }));

  test('a lock without fork handlers is found', { skip: notGlibc }, async () => {
    const env = { LD_PRELOAD: await compiled('reference.so'), MISTAKE: 'fork-lock' };
    const { done, report } = await fork(env, FORKS);
    assert.equal(done, false);
    assert.match(report, /^hang \d+ in fork \d+\n/);
  });
});

// test/c/fork_locks.c
describe('fork', { skip: cannotPreload }, () => {
  for (const backend of SWITCHING)
    for (const beside of ['stdio', 'signal']) {
      test(`${backend}: ${beside === 'stdio' ? "beside stdio's locks" : 'in the handler of a signal'}`, async () => {
        // So that jemalloc has a lock nearly all the time.
        const locks = beside === 'signal' ? { MALLOC_CONF: 'tcache:false,narenas:1' } : {};
        const env = { LD_PRELOAD: shim(backend), ...locks };
        const forks = FORKS / 20;
        const { done, report } = await watched(
          await compiled('fork_locks'),
          [beside, `${forks}`],
          env,
          forks,
        );
        assert.ok(done, report);
      });
    }
});
