import { compile, geometricMean, interleaved, median, type Subject } from './measure.js';
import { backends, distribution, environmentOf, packageVersion } from './subjects.js';
import { markdown, milliseconds, ratio, type Options, type Table } from './table.js';

/** Steps that take half a second to a second. */
const steps = {
  churn: 60_000_000,
  mixed: 15_000_000,
  grow: 1_500_000,
  aligned: 20_000_000,
  handover: 20_000_000,
  larson: 60_000_000,
} as const;

/** What Debian and its descendants ship of the same allocators. */
const distributed = { jemalloc: 'libjemalloc.so.2', mimalloc: 'libmimalloc.so.2' } as const;
const packages = { jemalloc: 'libjemalloc2', mimalloc: 'libmimalloc2.0' } as const;

async function* run({ runs = 9, quick, progress }: Options): AsyncIterable<string> {
  const program = compile('workloads');
  const ratios: Record<keyof typeof distributed, number[]> = { jemalloc: [], mimalloc: [] };
  const rows: string[][] = [];
  for (const [workload, count] of Object.entries(steps)) {
    const subjects = new Map<string, Subject>();
    const add = (name: string, env: NodeJS.ProcessEnv): void => {
      subjects.set(name, { command: program, args: [workload, String(quick ? count / 10 : count)], env });
    };
    for (const backend of backends) {
      add(backend, environmentOf(backend));
      if (backend !== 'jemalloc' && backend !== 'mimalloc') continue;
      const env = distribution(distributed[backend]);
      if (env !== undefined) add(distributed[backend], env);
    }
    const costs = await interleaved(subjects, quick ? 3 : runs, (message) =>
      progress(`${workload} ${message}`),
    );
    const cpu = (name: string): number => median((costs.get(name) ?? []).map((cost) => cost.cpu));
    const row = [workload, milliseconds(cpu('default'))];
    for (const backend of ['jemalloc', 'mimalloc'] as const) {
      row.push(milliseconds(cpu(backend)));
      if (subjects.has(distributed[backend])) {
        const relative = cpu(backend) / cpu(distributed[backend]);
        ratios[backend].push(relative);
        row.push(milliseconds(cpu(distributed[backend])), ratio(relative));
      } else {
        row.push('not installed', '');
      }
    }
    rows.push([...row, milliseconds(cpu('snmalloc'))]);
  }
  const mean = (values: number[]): string => (values.length > 0 ? ratio(geometricMean(values)) : '');
  rows.push(['geometric mean', '', '', '', mean(ratios.jemalloc), '', '', mean(ratios.mimalloc), '']);
  const head = (backend: keyof typeof distributed): string[] => [
    backend,
    `${distributed[backend]} (${packageVersion(packages[backend])})`,
    'ratio',
  ];
  yield markdown(['workload, CPU time', 'glibc', ...head('jemalloc'), ...head('mimalloc'), 'snmalloc'], rows);
}

export const workloads: Table = {
  title: 'Allocation workloads in C, against the distribution’s own libraries',
  run,
};
