import { compile, interleaved, median, type Subject } from './measure.js';
import { environmentOf, variants } from './subjects.js';
import { markdown, megabytes, ratio, seconds, type Options, type Table } from './table.js';

/** How a program comes by a zeroed block: two tables, for what is cheap in one can be dear in the other. */
const ways = {
  memset: 'malloc and memset, as Python’s bytearray',
  calloc: 'calloc, as Node’s Buffer.alloc and numpy.zeros',
} as const;

async function* run({ runs = 7, quick, preset: only, progress }: Options): AsyncIterable<string> {
  const program = compile('blocks');
  for (const [way, title] of Object.entries(ways)) {
    const subjects = new Map<string, Subject>();
    for (const { backend, preset, name } of variants(only)) {
      const args = [quick ? '200' : '2000', way];
      subjects.set(name, { command: program, args, env: environmentOf(backend, preset) });
    }
    const costs = await interleaved(subjects, quick ? 3 : runs, (message) => progress(`${way} ${message}`));
    const cpu = (name: string): number => median(costs.get(name)!.map((cost) => cost.cpu));
    const rows = variants(only).map(({ backend, preset, name }) => [
      backend,
      preset,
      seconds(cpu(name)),
      ratio(cpu(name) / cpu('default none')),
      String(Math.round(median(costs.get(name)!.map((cost) => cost.minorFaults)))),
      megabytes(median(costs.get(name)!.map((cost) => cost.peakKb))),
    ]);
    const head = ['backend', 'preset', 'CPU', '÷ glibc', 'page faults', 'peak RSS'];
    yield `### ${title}\n\n${markdown(head, rows)}`;
  }
}

export const pagefault: Table = {
  title: 'Replacing one of 20 zeroed blocks of 5–25 MiB, 2,000 times',
  run,
};
