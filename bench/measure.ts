import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { basename, join, resolve, sep } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

/** The repository, seen from dist/bench. */
export const root = fileURLToPath(new URL('../..', import.meta.url));
const binaries = join(root, 'dist/bench-bin');

/** What one run of a program cost; `wait4` in bench/c/measure.c says so. */
export interface Cost {
  wall: number;
  cpu: number;
  peakKb: number;
  minorFaults: number;
  stdout: string;
}

export interface Subject {
  command: string;
  args: string[];
  env: NodeJS.ProcessEnv;
}

/** A path in the folder of what the bench makes for itself. */
export function scratch(name: string): string {
  mkdirSync(binaries, { recursive: true });
  return join(binaries, name);
}

/** Compiles bench/c/<name>.c, or .cc, and says where the program is. */
export function compile(
  name: string,
  { as = name, flags = [] }: { as?: string; flags?: string[] } = {},
): string {
  const source = join(root, `bench/c/${name}.c`);
  const program = scratch(as);
  // Moved into place: a program that runs, in a bench beside this one, cannot be written over.
  const built = `${program}.${process.pid}`;
  const [compiler, file] = existsSync(source) ? ['cc', source] : ['c++', `${source}c`];
  execFileSync(compiler, ['-O2', '-pthread', '-o', built, file, ...flags]);
  renameSync(built, program);
  return program;
}

let launcher: string | undefined;

/** Runs a program to its end; a failure of it is an error that quotes what it wrote. */
export async function measure({ command, args, env }: Subject): Promise<Cost> {
  launcher ??= compile('measure', { flags: ['-static'] });
  const child = spawn(launcher, ['3', command, ...args], { env, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
  const [stdout, stderr, cost, code] = await Promise.all([
    text(child.stdout!),
    text(child.stderr!),
    text(child.stdio[3] as NodeJS.ReadableStream),
    new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve)),
  ]);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${stderr}`);
  return { ...(JSON.parse(cost) as Omit<Cost, 'stdout'>), stdout };
}

/** Another checkout, built, of which everything that is measured here is measured too (`--against`). */
let other: string | undefined;

export function measureAgainst(folder: string): void {
  other = resolve(folder) + sep;
}

/** The subject with the other checkout's libraries and scripts; programs in C are the same for both. */
export function elsewhere(subject: Subject): Subject | undefined {
  if (other === undefined) return undefined;
  const there = (text: string): string =>
    text.replaceAll(root, (found, at: number) => (text.startsWith(binaries, at) ? found : (other as string)));
  const args = subject.args.map(there);
  const { LD_PRELOAD } = subject.env;
  const env = { ...subject.env, ...(LD_PRELOAD !== undefined && { LD_PRELOAD: there(LD_PRELOAD) }) };
  const differs = env['LD_PRELOAD'] !== LD_PRELOAD || args.some((arg, at) => arg !== subject.args[at]);
  return differs ? { ...subject, args, env } : undefined;
}

export interface Comparison {
  subject: string;
  here: number;
  there: number;
}

/** What was measured in both checkouts since the last call, by CPU time or instructions. */
let compared: Comparison[] = [];

export function compare(subject: string, here: number, there: number): void {
  compared.push({ subject, here, there });
}

export function comparisons(): Comparison[] {
  const all = compared;
  compared = [];
  return all;
}

/**
 * Runs every subject `runs` times, turn by turn, so that whatever disturbs the machine for a while disturbs
 * all of them. One that the other checkout has too is run there just before or after.
 */
export async function interleaved<Name extends string>(
  subjects: ReadonlyMap<Name, Subject>,
  runs: number,
  progress: (message: string) => void,
): Promise<Map<Name, Cost[]>> {
  const costs = new Map<Name, Cost[]>();
  const costsThere = new Map<Name, Cost[]>();
  for (const name of subjects.keys()) costs.set(name, []);
  for (let run = 1; run <= runs; run++) {
    for (const [name, subject] of subjects) {
      progress(`${name} ${run}/${runs}`);
      const there = elsewhere(subject);
      const measureThere = async (): Promise<void> => {
        if (there !== undefined)
          costsThere.set(name, [...(costsThere.get(name) ?? []), await measure(there)]);
      };
      if (run % 2 === 0) await measureThere();
      costs.get(name)!.push(await measure(subject));
      if (run % 2 === 1) await measureThere();
    }
  }
  for (const [name, there] of costsThere) {
    const { args } = subjects.get(name)!;
    const cpu = (all: Cost[]): number => median(all.map((cost) => cost.cpu));
    compare(`${args.map((arg) => basename(arg)).join(' ')}: ${name}`, cpu(costs.get(name)!), cpu(there));
  }
  return costs;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
