import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
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

/** Compiles bench/c/<name>.c, and says where the program is. */
export function compile(
  name: string,
  { as = name, flags = [] }: { as?: string; flags?: string[] } = {},
): string {
  const program = scratch(as);
  // Moved into place: a program that runs, in a bench beside this one, cannot be written over.
  const built = `${program}.${process.pid}`;
  execFileSync('cc', ['-O2', '-pthread', '-o', built, join(root, `bench/c/${name}.c`), ...flags]);
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

/**
 * Runs every subject `runs` times, turn by turn, so that whatever disturbs the machine for a while disturbs
 * all of them.
 */
export async function interleaved<Name extends string>(
  subjects: ReadonlyMap<Name, Subject>,
  runs: number,
  progress: (message: string) => void,
): Promise<Map<Name, Cost[]>> {
  const costs = new Map<Name, Cost[]>();
  for (const name of subjects.keys()) costs.set(name, []);
  for (let run = 1; run <= runs; run++) {
    for (const [name, subject] of subjects) {
      progress(`${name} ${run}/${runs}`);
      costs.get(name)!.push(await measure(subject));
    }
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
