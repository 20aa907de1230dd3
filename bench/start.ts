import { join } from 'node:path';
import { binaryFolder } from '../src/native/loader.js';
import { interleaved, median, root, type Cost, type Subject } from './measure.js';
import { environmentOf } from './subjects.js';
import { markdown, milliseconds, ratio, type Options, type Table } from './table.js';

async function* run({ runs = 31, quick, progress }: Options): AsyncIterable<string> {
  // With this variable, Node 20 reads the certificates at each start, which takes longer than the rest of the start.
  const started = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({ ...env, NODE_EXTRA_CA_CERTS: undefined });
  const env = started(environmentOf('default'));
  const node = process.execPath;
  const subjects = new Map<string, Subject>([
    ['`true`', { command: 'true', args: [], env }],
    [
      '`true` with the variables of `env mimalloc`',
      { command: 'true', args: [], env: started(environmentOf('mimalloc', 'balanced')) },
    ],
    ['`node -e 0`', { command: node, args: ['-e', '0'], env }],
    [
      '`malloc-backend run mimalloc -- true`, the native program',
      { command: join(binaryFolder(), 'malloc-backend'), args: ['run', 'mimalloc', '--', 'true'], env },
    ],
    [
      '`malloc-backend run mimalloc -- true`, the Node script',
      { command: node, args: [join(root, 'dist/cli/main.cjs'), 'run', 'mimalloc', '--', 'true'], env },
    ],
  ]);
  const costs = [...(await interleaved(subjects, quick ? 7 : runs, progress))];
  const of = (figure: (cost: Cost) => number): number[] => costs.map(([, all]) => median(all.map(figure)));
  const [wall, cpu] = [of((cost) => cost.wall), of((cost) => cost.cpu)];
  const rows = costs.map(([name], at) => [name, milliseconds(wall[at]!), milliseconds(cpu[at]!)]);
  // A row minus the first row, divided by the third row: how many starts of Node it adds.
  const added = (all: number[], row: number): string => ratio((all[row]! - all[0]!) / all[2]!);
  const verdict =
    `The native program adds ${added(wall, 3)} starts of Node (wall-clock time) or ${added(cpu, 3)} (CPU time). ` +
    `The Node script adds ${added(wall, 4)} or ${added(cpu, 4)}.`;
  yield `${markdown(['from start to end of', 'wall', 'CPU'], rows)}\n\n${verdict}`;
}

export const start: Table = { title: 'What `run` adds to a program’s start', run };
