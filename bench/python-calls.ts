import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { measure, median, root, type Cost } from './measure.js';
import { plainPython, pythonVersion } from './python-subjects.js';
import { markdown, megabytes, ratio, type Options, type Table } from './table.js';

/** The interpreter's folder first, where node-calls-python looks for its `python3` and `python3-config`. */
function environmentFor(python: string): NodeJS.ProcessEnv {
  const env = plainPython();
  return { ...env, PATH: [dirname(python), env['PATH'] ?? ''].join(delimiter) };
}

/** Has npm build it, against that Python. */
async function install(folder: string, python: string): Promise<{ module: string; version: string }> {
  const args = ['install', '--no-audit', '--no-fund', '--prefix', folder, 'node-calls-python@1.11.1'];
  await promisify(execFile)('npm', args, { env: environmentFor(python), cwd: folder });
  const module = join(folder, 'node_modules/node-calls-python');
  // Whether it loads is known only now.
  const load = `require(${JSON.stringify(module)}); process.exit()`;
  await promisify(execFile)(process.execPath, ['-e', load], { env: environmentFor(python) });
  return { module, version: 'node-calls-python 1.11.1' };
}

async function* run({ runs = 5, quick, python, progress }: Options): AsyncIterable<string> {
  const folder = mkdtempSync(join(tmpdir(), 'malloc-backend-bench-'));
  try {
    const contenders = new Map<string, string[]>([['this package', []]]);
    let note = '';
    try {
      progress('npm install node-calls-python');
      const { module, version } = await install(folder, python);
      contenders.set(version, [module]);
    } catch (error) {
      const why = (error as Error & { stderr?: string }).stderr ?? String(error);
      note = `\n\nnode-calls-python was left out; it could not be built or loaded: ${why.trim().split('\n').at(-1)}`;
    }
    const command = process.execPath;
    const program = join(root, 'dist/bench/programs/calls.js');
    const env = { ...environmentFor(python), ...(quick ? { BENCH_CALLS: '100000' } : {}) };
    const one = (what: string, module: string[]): Promise<Cost> => {
      progress(`${what} ${module.length === 0 ? 'this package' : 'node-calls-python'}`);
      return measure({ command, args: [program, what, python, ...module], env });
    };
    const rounds = quick ? 1 : runs;
    const trips: Record<string, number[]> = {};
    for (let round = 0; round < rounds; round++) {
      for (const what of ['sequential', 'concurrent']) {
        for (const [name, module] of contenders) {
          const { stdout } = await one(what, module);
          (trips[`${name} ${what}`] ??= []).push(...(JSON.parse(stdout) as number[]));
        }
      }
    }
    const trip = (name: string, what: string): number => median(trips[`${name} ${what}`]!);
    const micro = (value: number): string => `${value.toFixed(1)} µs`;
    const rows = ['sequential', 'concurrent'].map((what) => {
      const [first = '', ...others] = contenders.keys();
      const own = trip(first, what);
      const title = what === 'sequential' ? 'calls one after the other' : '1,000 calls at the same time';
      return [
        title,
        micro(own),
        ...others.flatMap((name) => [micro(trip(name, what)), ratio(own / trip(name, what))]),
      ];
    });
    const head = [
      'time for one call of `add(1, 2)`',
      ...[...contenders.keys()].flatMap((name, at) => (at === 0 ? [name] : [name, 'ratio'])),
    ];
    yield `_${pythonVersion(python)}_\n\n${markdown(head, rows)}${note}`;

    const rest: string[][] = [];
    for (const [name, module] of contenders) {
      const delays: number[] = [];
      for (let round = 0; round < rounds; round++) {
        delays.push(JSON.parse((await one('delay', module)).stdout) as number);
      }
      const worst = `${Math.max(...delays).toFixed(1)} ms`;
      rest.push([
        name,
        'longest delay of the event loop while Python computes for 2 s',
        worst,
        `longest of ${rounds} runs; median ${median(delays).toFixed(1)} ms`,
      ]);
    }
    const large = await one('buffer', []);
    const { beforeKb, same } = JSON.parse(large.stdout) as { beforeKb: number; same: boolean };
    if (!same) throw new Error('the buffer came back changed');
    const peak = `of which ${megabytes(beforeKb)} before the call; ${ratio(large.peakKb / 1024 / 256)} × the buffer`;
    rest.push([
      'this package',
      'peak RSS when a Buffer of 256 MiB goes to Python and back',
      megabytes(large.peakKb),
      peak,
    ]);
    const tenths = JSON.parse((await one('rss', [])).stdout) as number[];
    const calls = quick ? '100,000' : '1,000,000';
    const growth = `${((tenths[9]! - tenths[0]!) / 1024).toFixed(1)} MiB`;
    const each = tenths.map((kb) => Math.round(kb / 1024)).join(', ');
    rest.push([
      'this package',
      `growth of RSS from the first tenth of ${calls} calls to the last`,
      growth,
      `after each tenth: ${each} MiB`,
    ]);
    yield markdown(['', 'figure', '', ''], rest);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const pythonCalls: Table = { title: 'Calls into the interpreter of this process', run };
