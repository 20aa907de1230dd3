import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { binaryFolder } from '../src/native/loader.js';
import { compile, measure, median, root } from './measure.js';
import { neutral } from './subjects.js';
import { markdown, megabytes, pairedRatio, seconds, type Options, type Table } from './table.js';

/** The end of a program, as `malloc-backend measure` reports it. */
interface End {
  wall: number;
  user: number;
  system: number;
}

interface Run {
  /** CPU time of the program. */
  cpu: number;
  /** Peak RSS of the largest process, which the kernel records without samples. */
  peakKb: number;
  wall: number;
  /** CPU time of the launcher itself. */
  launcher: number;
  samples: number;
}

/** `without` has one sample, at the start: everything else is as in a run with samples. */
const ways = { without: ['--interval', '86400000', '--pss', '0'], with: [] } as const;
type Way = keyof typeof ways;

function programs(quick: boolean): Map<string, string[]> {
  const amount = (full: number): string => String(quick ? full / 10 : full);
  const node = (name: string, full: number): string[] => [
    process.execPath,
    '--expose-gc',
    join(root, `dist/bench/programs/${name}.js`),
    amount(full),
  ];
  // pyenv and others put a shell script in python3's place.
  const python = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' });
  const workloads = compile('workloads');
  const forty = `for i in $(seq 40); do "$0" churn "$1" & done; wait`;
  return new Map([
    ['C: blocks of 5–25 MiB', [compile('blocks'), amount(1000), 'memset']],
    ['C: small blocks on two threads', [workloads, 'larson', amount(30_000_000)]],
    ['C: 40 processes', ['sh', '-c', forty, workloads, amount(5_000_000)]],
    ['Node: buffers of 1 KiB to 1 MiB', node('buffers', 40_000)],
    ['Node: JSON and gzip', node('json', 400)],
    ['Python: objects', [python.trim(), join(root, 'bench/programs/objects.py'), amount(600_000)]],
  ]);
}

async function launch(words: readonly string[], way: Way): Promise<Run> {
  const launcher = join(binaryFolder(), 'malloc-backend');
  const options = ['measure', 'default', '--preset', 'none', '--report-fd', '4', ...ways[way], '--'];
  // What the launcher itself uses is what it all uses, but for the program.
  const {
    cpu: whole,
    peakKb,
    stdout,
  } = await measure({
    command: 'sh',
    args: ['-c', 'exec 4>&1 >/dev/null; exec "$@"', 'sh', launcher, ...options, ...words],
    env: neutral(),
  });
  const lines = stdout.trimEnd().split('\n');
  const { user, system, wall } = JSON.parse(lines.at(-1)!) as End;
  const cpu = user + system;
  return { cpu, peakKb, wall, launcher: whole - cpu, samples: lines.length - 2 };
}

async function* run({ runs = 15, quick, progress }: Options): AsyncIterable<string> {
  const rows: string[][] = [];
  const count = quick ? 3 : runs;
  for (const [name, words] of programs(quick)) {
    const all: Record<Way, Run[]> = { without: [], with: [] };
    for (let turn = 1; turn <= count; turn++) {
      progress(`${name} ${turn}/${count}`);
      const order: Way[] = turn % 2 === 0 ? ['without', 'with'] : ['with', 'without'];
      for (const way of order) all[way].push(await launch(words, way));
    }
    const pairs = (figure: (run: Run) => number) =>
      all.with.map((each, at) => [figure(each), figure(all.without[at]!)] as const);
    const middle = (figure: (run: Run) => number): number => median(all.with.map(figure));
    // The start of the launcher costs as much without samples.
    const shares = all.with.map(
      ({ launcher, wall }, at) => ((launcher - all.without[at]!.launcher) / wall) * 100,
    );
    rows.push([
      name,
      seconds(middle(({ cpu }) => cpu)),
      pairedRatio(pairs(({ cpu }) => cpu)),
      megabytes(middle(({ peakKb }) => peakKb)),
      pairedRatio(pairs(({ peakKb }) => peakKb)),
      `${Math.round(middle(({ samples, wall }) => wall / samples) * 1000)} ms`,
      `${median(shares).toFixed(2)} %`,
    ]);
  }
  const head = [
    'program',
    'CPU',
    'with ÷ without',
    'peak RSS',
    'with ÷ without',
    'interval',
    'CPU for samples',
  ];
  yield markdown(head, rows);
}

export const sampling: Table = { title: 'What samples cost a program, and the launcher', run };
