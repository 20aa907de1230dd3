import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { compare, compile, elsewhere, root } from './measure.js';
import { environmentOf } from './subjects.js';
import { markdown, type Options, type Table } from './table.js';

/** Where cargo leaves each allocator's static library, what its functions are called there, what it links with. */
const archives = {
  jemalloc: {
    crate: 'tikv-jemalloc-sys-',
    file: 'out/lib/libjemalloc_pic.a',
    names: ['_rjem_malloc', '_rjem_free'],
    libraries: ['-lm'],
  },
  mimalloc: {
    crate: 'libmimalloc-sys-',
    file: 'out/libmimalloc.a',
    names: ['mi_malloc', 'mi_free'],
    libraries: [],
  },
  snmalloc: {
    crate: 'snmalloc-sys-',
    file: 'out/libsnmallocshim-rust.a',
    names: ['sn_malloc', 'sn_free'],
    libraries: ['-lstdc++'],
  },
} as const;
export type Allocator = keyof typeof archives;
export const allocators = Object.keys(archives) as Allocator[];

/**
 * The archive that the shim was linked from. The addon's build of the same allocator lies beside it and differs
 * in its TLS model: the shims', and only theirs, is initial-exec, which reads offsets from the GOT.
 */
function archiveOf(allocator: Allocator): string {
  const builds = join(root, 'target/release/build');
  const { crate, file } = archives[allocator];
  const found = readdirSync(builds)
    .filter((name) => name.startsWith(crate))
    .map((name) => join(builds, name, file))
    .filter((path) => existsSync(path) && initialExec(path))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (found[0] === undefined) throw new Error(`no ${crate}*/${file} with initial-exec TLS under ${builds}`);
  return found[0];
}

function initialExec(archive: string): boolean {
  const relocations = execFileSync(
    'sh',
    ['-c', 'readelf -rW "$1" | grep -Eo "R_[A-Z0-9_]*(GOTTP|TLSLD|TLSGD|TLSDESC)" | sort -u', 'sh', archive],
    { encoding: 'utf8' },
  );
  return relocations.includes('GOTTP') && !/TLSLD|TLSGD|TLSDESC/.test(relocations);
}

type Counter = (program: string, args: string[], env: NodeJS.ProcessEnv) => Promise<number>;

export const callgrind: Counter = async (program, args, env) => {
  const options = ['--tool=callgrind', '--callgrind-out-file=/dev/null'];
  const { stderr } = await promisify(execFile)('valgrind', [...options, program, ...args], { env });
  return Number(/Collected : (\d+)/.exec(stderr)?.[1]);
};

/**
 * For snmalloc, whose 256 GiB of address space valgrind cannot give: bench/c/steps.c. Its order of blocks is random,
 * so that two runs differ by some tenths of an instruction per pair.
 */
const singleSteps: Counter = async (program, args, env) => {
  const counter = compile('steps', { flags: ['-static'] });
  const { stdout } = await promisify(execFile)(counter, [program, ...args, 'stop'], { env });
  return Number(stdout);
};

/** Instructions per pair: the difference between two lengths of the loop, so that start and end fall out. */
async function difference(
  count: Counter,
  few: number,
  many: number,
  size: number,
  of: CountedProgram,
): Promise<number> {
  const counted = async (pairs: number): Promise<number> =>
    count(of.program, [String(size), String(pairs)], of.env);
  return ((await counted(many)) - (await counted(few))) / (many - few);
}

interface CountedProgram {
  program: string;
  env: NodeJS.ProcessEnv;
}

export async function perPair(
  allocator: string,
  program: string,
  size: number,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  if (allocator === 'snmalloc') return inSingleSteps(program, size, env);
  return difference(callgrind, 100_000, 1_100_000, size, { program, env });
}

/** The same without valgrind, which takes any allocator. */
export async function inSingleSteps(program: string, size: number, env: NodeJS.ProcessEnv): Promise<number> {
  return difference(singleSteps, 500, 10_500, size, { program, env });
}

/** The loop over the allocator in its static library. */
export function calledDirectly(allocator: Allocator): string {
  const { names, libraries } = archives[allocator];
  return compile('pair', {
    as: `pair-${allocator}`,
    flags: [`-DALLOCATE=${names[0]}`, `-DRELEASE=${names[1]}`, archiveOf(allocator), ...libraries],
  });
}

async function* run({ progress }: Options): AsyncIterable<string> {
  const preloaded = compile('pair');
  const rows: string[][] = [];
  for (const allocator of allocators) {
    const direct = calledDirectly(allocator);
    for (const size of [8, 64, 1024]) {
      progress(`${allocator} ${size}`);
      const own = await perPair(allocator, direct, size, environmentOf('default'));
      const env = environmentOf(allocator);
      const shim = await perPair(allocator, preloaded, size, env);
      const there = elsewhere({ command: preloaded, args: [], env });
      if (there !== undefined) {
        compare(`${allocator} ${size}`, shim, await perPair(allocator, preloaded, size, there.env));
      }
      rows.push([allocator, String(size), own.toFixed(1), shim.toFixed(1), (shim - own).toFixed(1)]);
    }
  }
  yield markdown(['allocator', 'size', 'called directly', 'through the shim', 'difference'], rows);
}

export const pair: Table = {
  title: 'Instructions of a malloc and free pair (callgrind; snmalloc by single steps)',
  run,
};
