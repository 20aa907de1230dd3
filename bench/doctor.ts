import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Diagnosis, diagnose } from '../index.js';
import { median, root, scratch } from './measure.js';
import { type Options, type Table, markdown } from './table.js';

/** What the programs of test/c/heaps.c do with their GiB. */
const kinds = {
  small: 'blocks of 16–1,000 bytes, all freed',
  large: 'blocks of 0.1–2 MB, each second one freed',
  live: 'blocks of 16–1,000 bytes, none freed',
  holes: 'blocks of 1,000 bytes, three of four freed',
  threads: 'four threads with arenas, two of three blocks freed',
} as const;

/** Short looks at a process in a row: how long the longest gap in its work is. */
const LOOKS = 20;

interface Program {
  child: ChildProcess;
  pid: number;
  /** The first line that it says, and the next ones. */
  first: string;
  next: () => Promise<string>;
}

async function started(file: string, kind: string, mebibytes: number): Promise<Program> {
  const child = spawn(file, [kind, String(mebibytes)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const next = async () => ((await once(lines, 'line')) as [string])[0];
  const first = await next();
  return { child, pid: child.pid!, first, next };
}

async function end({ child }: Program): Promise<void> {
  const exit = once(child, 'exit');
  child.stdin!.end();
  await exit;
}

/** The longest gap in the program's work while `work` is done, in milliseconds. */
async function longestGap({ child, next }: Program, work: () => Promise<unknown>): Promise<number> {
  const ask = () => {
    const line = next();
    child.stdin!.write('\n');
    return line;
  };
  await ask();
  await work();
  return Number(await ask());
}

async function* run({ runs = 5, quick, progress }: Options): AsyncIterable<string> {
  const file = scratch('heaps');
  execFileSync('cc', ['-O1', '-fno-builtin', '-pthread', '-o', file, join(root, 'test/c/heaps.c')]);
  const mebibytes = quick ? 128 : 1024;
  const rows: string[][] = [];
  for (const [kind, title] of Object.entries(kinds)) {
    progress(kind);
    const program = await started(file, kind, mebibytes);
    const inside = JSON.parse(program.first) as { free: number; fastbins: number };
    const found: { diagnosis: Diagnosis; seconds: number }[] = [];
    for (let turn = 0; turn < (quick ? 1 : runs); turn++) {
      const before = performance.now();
      const diagnosis = await diagnose(program.pid);
      found.push({ diagnosis, seconds: (performance.now() - before) / 1000 });
    }
    await end(program);
    const { rss, heap, verdict } = found[0]!.diagnosis;
    const perGiB = (median(found.map(({ seconds }) => seconds)) * 2 ** 30) / rss;
    const size = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    const counted = inside.free - inside.fastbins;
    rows.push([title, size(counted), size(heap!.free), verdict.code, `${perGiB.toFixed(3)} s`]);
  }
  const head = ['a GiB of', 'free by `mallinfo2`', 'free from outside', 'verdict', 'time per GiB of RSS'];
  yield markdown(head, rows);

  const program = await started(file, 'watch', mebibytes);
  const gaps: { alone: number; watched: number }[] = [];
  for (let turn = 0; turn < (quick ? 1 : runs); turn++) {
    progress(`the longest gap, ${turn + 1}`);
    let elapsed = 0;
    const watched = await longestGap(program, async () => {
      const before = performance.now();
      for (let look = 0; look < LOOKS; look++) await diagnose(program.pid);
      elapsed = performance.now() - before;
    });
    gaps.push({ watched, alone: await longestGap(program, () => sleep(elapsed)) });
  }
  await end(program);
  const gap = (of: 'alone' | 'watched') => [
    `${median(gaps.map((each) => each[of])).toFixed(2)} ms`,
    `${Math.max(...gaps.map((each) => each[of])).toFixed(2)} ms`,
  ];
  yield markdown(
    ['longest gap in the work of a process with a GiB', 'median', 'longest'],
    [
      ['left alone', ...gap('alone')],
      [`diagnosed ${LOOKS} times meanwhile`, ...gap('watched')],
    ],
  );
}

export const doctor: Table = {
  title:
    'What `diagnose()` finds in glibc’s heaps from outside, how long it takes, and what the process feels of it',
  run,
};
