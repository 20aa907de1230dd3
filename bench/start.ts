import { join } from 'node:path';
import { binaryFolder } from '../src/native/loader.js';
import { interleaved, median, root, type Cost, type Subject } from './measure.js';
import { environmentOf } from './subjects.js';
import { markdown, milliseconds, ratio, type Options, type Table } from './table.js';

async function* run({ runs = 31, quick, progress }: Options): AsyncIterable<string> {
  // Node 20 reads further certificates at each start, which takes longer than all else that it does then.
  const started = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({ ...env, NODE_EXTRA_CA_CERTS: undefined });
  const env = started(environmentOf('default'));
  const node = process.execPath;
  const subjects = new Map<string, Subject>([
    ['`true`', { command: 'true', args: [], env }],
    [
      '`true` with what `env mimalloc` sets',
      { command: 'true', args: [], env: started(environmentOf('mimalloc', 'balanced')) },
    ],
    ['`node -e 0`', { command: node, args: ['-e', '0'], env }],
    [
      '`malloc-backend run mimalloc -- true`',
      { command: join(binaryFolder(), 'malloc-backend'), args: ['run', 'mimalloc', '--', 'true'], env },
    ],
    [
      'the same by the root’s command, which Node starts',
      { command: node, args: [join(root, 'dist/cli/main.cjs'), 'run', 'mimalloc', '--', 'true'], env },
    ],
  ]);
  const costs = [...(await interleaved(subjects, quick ? 7 : runs, progress))];
  const of = (figure: (cost: Cost) => number): number[] => costs.map(([, all]) => median(all.map(figure)));
  const [wall, cpu] = [of((cost) => cost.wall), of((cost) => cost.cpu)];
  const rows = costs.map(([name], at) => [name, milliseconds(wall[at]!), milliseconds(cpu[at]!)]);
  // A row less the first, in units of the third.
  const added = (all: number[], row: number): string => ratio((all[row]! - all[0]!) / all[2]!);
  const verdict =
    `\`run\` adds ${added(wall, 3)} Node starts by the clock, ${added(cpu, 3)} in CPU time; ` +
    `by the root’s command ${added(wall, 4)} and ${added(cpu, 4)}.`;
  yield `${markdown(['start and end of', 'wall', 'CPU'], rows)}\n\n${verdict}`;
}

export const start: Table = { title: 'What `run` adds to a program’s start', run };
