import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { interleaved, median, root, type Cost, type Subject } from './measure.js';
import { photo } from './photo.js';
import { backends, environmentOf, presets as presetNames, variants } from './subjects.js';
import { markdown, megabytes, ratio, seconds, type Options, type Table } from './table.js';

type Program = Pick<Subject, 'command' | 'args'> & { env?: NodeJS.ProcessEnv };

function node(name: string, ...args: string[]): Program {
  return {
    command: process.execPath,
    args: ['--expose-gc', join(root, `dist/bench/programs/${name}.js`), ...args],
  };
}

/** The programs and their work; a tenth of it tells nothing of memory, but shows that the bench works. */
async function programs(quick: boolean): Promise<Map<string, Program>> {
  const amount = (full: number): string => String(quick ? full / 10 : full);
  // pyenv and others put a shell script in python3's place: the interpreter itself is what is measured.
  const python = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], {
    encoding: 'utf8',
  }).trim();
  const objects = { command: python, args: [join(root, 'bench/programs/objects.py'), amount(600_000)] };
  return new Map<string, Program>([
    ['sharp: 200 resizes of a 12-megapixel JPEG', node('image', amount(200), await photo())],
    ['Node: buffers of 1 KiB to 1 MiB', node('buffers', amount(40_000))],
    ['Node: JSON and gzip', node('json', amount(400))],
    ['Node: worker threads that come and go', node('workers', String(quick ? 8 : 48))],
    ['Python: objects', objects],
    ['Python: objects, PYTHONMALLOC=malloc', { ...objects, env: { PYTHONMALLOC: 'malloc' } }],
  ]);
}

const idleKb = (cost: Cost): number => Number(/^idle rss (\d+)$/m.exec(cost.stdout)?.[1]);

async function measureProgram(
  title: string,
  program: Program,
  runs: number,
  { preset: only, progress }: Options,
): Promise<string> {
  const subjects = new Map<string, Subject>();
  for (const { backend, preset, name } of variants(only)) {
    subjects.set(name, { ...program, env: { ...environmentOf(backend, preset), ...program.env } });
  }
  const costs = await interleaved(subjects, runs, (message) => progress(`${title}: ${message}`));
  const of = (name: string, figure: (cost: Cost) => number): number => median(costs.get(name)!.map(figure));
  const cpu = (name: string): number => of(name, (cost) => cost.cpu);
  const idle = (name: string): number => of(name, idleKb);
  const rows = variants(only).map(({ backend, preset, name }) => [
    backend,
    preset,
    seconds(cpu(name)),
    ratio(cpu(name) / cpu('default none')),
    megabytes(of(name, (cost) => cost.peakKb)),
    megabytes(idle(name)),
    ratio(idle(name) / idle('default none')),
  ]);
  const head = ['backend', 'preset', 'CPU', '÷ glibc', 'peak RSS', 'RSS after 2 s idle', '÷ glibc'];
  const table = `### ${title}\n\n${markdown(head, rows)}`;
  return only === undefined ? `${table}\n\n${order(idle)}` : table;
}

/** Whether RSS after idle falls from throughput to balanced to low-rss: measured, not promised. */
function order(idle: (name: string) => number): string {
  const verdicts = backends
    .filter((backend) => backend !== 'snmalloc')
    .map((backend) => {
      const [most, middle, least] = presetNames.slice(1).map((preset) => idle(`${backend} ${preset}`));
      // A hundredth is what two runs of the same thing differ by.
      const falls = most! * 1.01 >= middle! && middle! * 1.01 >= least!;
      return `${backend} ${falls ? 'yes' : 'NO'}`;
    });
  return `RSS after idle falls from throughput to balanced to low-rss: ${verdicts.join(', ')}.`;
}

async function* run(options: Options): AsyncIterable<string> {
  const { runs = 5, quick, program: only } = options;
  for (const [title, program] of await programs(quick)) {
    if (only !== undefined && only !== title) continue;
    yield await measureProgram(title, program, quick ? 1 : runs, options);
  }
}

export const presets: Table = { title: 'Backends and presets on six programs', run };
