// Stands in for `malloc-backend measure`: runs the command and reports figures that a test has chosen. FAKE_LAUNCHER has, by subject, what to report; `*` is for all.

import { spawn } from 'node:child_process';
import { appendFileSync, writeSync } from 'node:fs';

interface Faked {
  /** Fields of the event `end`. */
  end?: Record<string, unknown>;
  proof?: Record<string, unknown>;
  /** The RSS of the samples, 20 ms apart. */
  rss?: number[];
  /** What happens instead of a run. */
  instead?: 'error' | 'silence';
  /** A factor for CPU and wall time that is drawn from 1 ± this. */
  noise?: number;
}

measure(process.argv.slice(3));

function measure([backend = '', ...words]: string[]): void {
  const command = words.slice(words.indexOf('--') + 1);
  const preset = words[words.indexOf('--preset') + 1] ?? 'none';
  const faked = JSON.parse(process.env['FAKE_LAUNCHER'] ?? '{}') as Record<string, Faked>;
  const { end, proof, rss = [], instead, noise = 0 } = { ...faked['*'], ...faked[`${backend}/${preset}`] };
  const log = process.env['FAKE_LAUNCHER_LOG'];
  if (log !== undefined)
    appendFileSync(log, `${backend}/${preset} ${words.slice(0, words.indexOf('--')).join(' ')}\n`);
  const tell = (event: object): void => void writeSync(3, `${JSON.stringify(event)}\n`);
  if (instead === 'silence') process.exit(9);
  if (instead === 'error') {
    tell({ event: 'error', code: 'ERR_NOT_APPLIED', message: 'its malloc is that of /usr/lib/other.so' });
    process.exit(1);
  }
  const at = performance.now();
  const child = spawn(command[0] ?? '', command.slice(1), { stdio: 'inherit' });
  tell({
    event: 'start',
    at,
    pid: child.pid,
    proof: { pid: child.pid, backend, version: '1', library: '/l', owner: '/o', ...proof },
  });
  for (const [index, each] of rss.entries())
    tell({ event: 'sample', at: at + index * 20, rss: each, processes: 1, treeRss: each, cpu: 0 });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => child.kill(signal));
  child.on('close', (code, signal) => {
    const factor = 1 + (Math.random() * 2 - 1) * noise;
    tell({
      event: 'end',
      at: at + rss.length * 20,
      wall: factor,
      user: factor,
      system: 0,
      peakRss: 1e8,
      treePeakRss: 1e8,
      minorFaults: 1,
      majorFaults: 0,
      voluntarySwitches: 1,
      involuntarySwitches: 1,
      code,
      signal,
      counters: null,
      leftBehind: 0,
      ...end,
    });
  });
}
