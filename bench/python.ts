import { join } from 'node:path';
import { presets } from '../index.js';
import { geometricMean, interleaved, median, root, type Cost, type Subject } from './measure.js';
import {
  domainSets,
  pythonBackends,
  pythonOn,
  pythonVersion,
  withoutUs,
  type DomainSet,
  type PythonBackend,
} from './python-subjects.js';
import type { Preset } from './subjects.js';
import { markdown, megabytes, ratio, seconds, type Options, type Table } from './table.js';

/** bench/programs, and turns that take about a second. */
const programs = {
  documents: { title: 'JSON', turns: 22 },
  tokens: { title: 'regular expressions', turns: 17 },
  strings: { title: 'strings', turns: 45 },
  churn: { title: 'dicts and objects', turns: 60_000 },
  bytes_large: { title: 'large bytearrays', turns: 600 },
  threaded: { title: 'threads', turns: 1_100 },
} as const;
type Program = keyof typeof programs;

interface Variant {
  name: string;
  ours: boolean;
  env: NodeJS.ProcessEnv;
}

const presetsOf = (backend: PythonBackend): Preset[] =>
  presets[backend] === undefined ? ['none'] : ['none', 'balanced'];

function variants(): Variant[] {
  const theirs = [...withoutUs()].map(([name, env]) => ({ name, ours: false, env }));
  const sets = Object.keys(domainSets) as DomainSet[];
  const ours = pythonBackends.flatMap((backend) =>
    presetsOf(backend).flatMap((preset) =>
      sets.map((set) => ({
        name: `${backend} ${set}${preset === 'none' ? '' : `, ${preset}`}`,
        ours: true,
        env: pythonOn(backend, set, preset),
      })),
    ),
  );
  return [...theirs, ...ours];
}

interface Measured {
  /**
   * CPU time: for each of some twenty slices of the program the least of the runs, summed. What else runs on a shared
   * machine can only add, here up to as much again; it seldom hits the same slice in every run.
   */
  cpu: number;
  peakKb: number;
}

async function measured(
  program: Program,
  contenders: readonly Variant[],
  python: string,
  quick: boolean,
  runs: number,
  progress: Options['progress'],
): Promise<Map<string, Measured>> {
  const { turns } = programs[program];
  const args = [join(root, `bench/programs/${program}.py`), String(quick ? Math.ceil(turns / 10) : turns)];
  const subjects = new Map<string, Subject>();
  for (const { name, env } of contenders) subjects.set(name, { command: python, args, env });
  const costs = await interleaved(subjects, runs, (message) => progress(`${program}: ${message}`));
  const results = new Set([...costs.values()].flat().map(({ stdout }) => stdout.replace(/^slices .*/m, '')));
  if (results.size !== 1)
    throw new Error(`${program} computed different things: ${[...results].join(' / ')}`);
  return new Map([...costs].map(([name, all]) => [name, summary(all)]));
}

/** The CPU time of each slice of a run (bench/programs/slices.py), and of what follows the last. */
function slices({ cpu, stdout }: Cost): number[] {
  const ends = /^slices (.*)/m.exec(stdout)![1]!.split(' ').map(Number);
  return [...ends, cpu].map((end, at, all) => end - (all[at - 1] ?? 0));
}

function summary(all: readonly Cost[]): Measured {
  const runs = all.map(slices);
  const least = runs[0]!.map((_, slice) => Math.min(...runs.map((run) => run[slice]!)));
  return {
    cpu: least.reduce((sum, slice) => sum + slice, 0),
    peakKb: median(all.map((cost) => cost.peakKb)),
  };
}

/** The fastest of ours and of the others: chosen by the first runs, judged by fresh ones, so that luck does not count. */
async function final(
  first: ReadonlyMap<string, Measured>,
  all: readonly Variant[],
  rerun: (contenders: readonly Variant[]) => Promise<Map<string, Measured>>,
): Promise<string[]> {
  const best = (ours: boolean): Variant =>
    all
      .filter((variant) => variant.ours === ours)
      .reduce((a, b) => (first.get(b.name)!.cpu < first.get(a.name)!.cpu ? b : a));
  const [ours, theirs] = [best(true), best(false)];
  const again = await rerun([theirs, ours]);
  const [before, after] = [again.get(theirs.name)!, again.get(ours.name)!];
  const relative = after.cpu / before.cpu;
  const verdict = relative > 1.02 ? 'slower' : 'not slower';
  return [theirs.name, seconds(before.cpu), ours.name, seconds(after.cpu), ratio(relative), verdict];
}

async function* run({ runs = 5, quick, python, program: only, progress }: Options): AsyncIterable<string> {
  const all = variants();
  const names = (Object.keys(programs) as Program[]).filter((name) => only === undefined || name === only);
  if (names.length === 0)
    throw new Error(`no program ${only}; there are ${Object.keys(programs).join(', ')}`);
  const tables = new Map<Program, Map<string, Measured>>();
  const finals: string[][] = [];
  yield `_${pythonVersion(python)}, ${python}_`;
  for (const program of names) {
    const rerun = (rounds: number) => (contenders: readonly Variant[]) =>
      measured(program, contenders, python, quick, rounds, progress);
    const first = await rerun(quick ? 1 : runs)(all);
    tables.set(program, first);
    const verdict = await final(first, all, rerun(quick ? 3 : 2 * runs + 1));
    finals.push([programs[program].title, ...verdict]);
    const plain = first.get('plain')!;
    const rows = all.map(({ name }) => {
      const { cpu, peakKb } = first.get(name)!;
      return [name, seconds(cpu), ratio(cpu / plain.cpu), megabytes(peakKb), ratio(peakKb / plain.peakKb)];
    });
    const head = ['', 'CPU', '÷ plain', 'peak RSS', '÷ plain'];
    yield `### ${programs[program].title} (bench/programs/${program}.py)\n\n${markdown(head, rows)}\n\n${verdict.join(', ')}`;
  }
  for (const [figure, title] of [
    ['cpu', 'CPU time ÷ that of plain Python'],
    ['peakKb', 'Peak RSS ÷ that of plain Python'],
  ] as const) {
    const rows = all.map(({ name }) => {
      const of = names.map((program) => {
        const table = tables.get(program)!;
        return table.get(name)![figure] / table.get('plain')![figure];
      });
      return [name, ...of.map(ratio), ratio(geometricMean(of))];
    });
    const head = ['', ...names.map((program) => programs[program].title), 'geometric mean'];
    yield `### ${title}\n\n${markdown(head, rows)}`;
  }
  const head = [
    'program',
    'fastest without package',
    'CPU',
    'fastest with package',
    'CPU',
    'ratio',
    'by 2 %',
  ];
  yield `### The fastest rows with this package and without, run again\n\n${markdown(head, finals)}`;
}

export const python: Table = { title: 'Python programs, domain by domain', run };
