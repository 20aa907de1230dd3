// Compiles the C and C++ programs of test/c into dist/test-bin.

import { execFile } from 'node:child_process';
import { mkdir, readdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from './shims.js';

const execute = promisify(execFile);
const sources = join(root, 'test', 'c');
const output = join(root, 'dist', 'test-bin');

// No built-in knowledge of malloc: what the programs ask for must reach the allocator.
const COMMON = ['-O1', '-g', '-fno-builtin', '-Wall', '-Wextra', '-pthread'];

interface Recipe {
  files: string[];
  flags?: string[];
}

const RECIPES = {
  contract: {
    files: ['contract.c', 'contract_errno.c', 'contract_family.c', 'contract_model.c', 'contract_threads.c'],
  },
  'address.node': { files: ['address.c'], flags: ['-shared', '-fPIC'] },
  event_loop: { files: ['event_loop.c'] },
  fork: { files: ['fork.c'] },
  fork_locks: { files: ['fork_locks.c'] },
  freed: { files: ['freed.c'] },
  heaps: { files: ['heaps.c'] },
  'leaks.node': { files: ['leaks.c'], flags: ['-shared', '-fPIC', '-fomit-frame-pointer'] },
  'leak.so': { files: ['leak.c'], flags: ['-shared', '-fPIC'] },
  last_thread: { files: ['last_thread.c'] },
  locked: { files: ['locked.c'] },
  alone: { files: ['alone.c'] },
  idle: { files: ['idle.c'] },
  measured: { files: ['measured.c'] },
  inside: { files: ['inside.c'] },
  runtime: { files: ['runtime.cpp'] },
  operators: { files: ['operators.cpp'] },
  'operators-replaced': { files: ['operators.cpp'], flags: ['-DREPLACED', '-Wno-sized-deallocation'] },
  'operators-own-malloc': { files: ['operators.cpp'], flags: ['-DOWN_MALLOC'] },
  'operators.so': { files: ['operators.cpp'], flags: ['-DPLUGIN', '-shared', '-fPIC'] },
  opens: { files: ['opens.c'] },
  'plugin.so': { files: ['plugin.c'], flags: ['-shared', '-fPIC'] },
  'refuse-external.so': { files: ['refuse_external.c'], flags: ['-shared', '-fPIC'] },
  'reference.so': { files: ['reference.c'], flags: ['-shared', '-fPIC'] },
} satisfies Record<string, Recipe>;

export type Program = keyof typeof RECIPES;

async function newest(): Promise<number> {
  const files = [
    join(root, 'crates', 'malloc-shim', 'include', 'malloc_backend_shim.h'),
    ...(await readdir(sources)).map((file) => join(sources, file)),
  ];
  const stats = await Promise.all(files.map((file) => stat(file)));
  return Math.max(...stats.map((each) => each.mtimeMs));
}

async function age(file: string): Promise<number> {
  try {
    return (await stat(file)).mtimeMs;
  } catch {
    return 0;
  }
}

/**
 * The path of the compiled program, newer than every source. Test files run in processes of their own, at the
 * same time: each compiles into a file of its own, and renames it into place.
 */
export async function compiled(program: Program): Promise<string> {
  const target = join(output, program);
  if ((await age(target)) > (await newest())) return target;
  await mkdir(output, { recursive: true });
  const { files, flags = [] }: Recipe = RECIPES[program];
  const cxx = files.some((file) => file.endsWith('.cpp'));
  const compiler = cxx ? (process.env['CXX'] ?? 'g++') : (process.env['CC'] ?? 'cc');
  const temporary = `${target}.${process.pid}`;
  await execute(compiler, [
    ...COMMON,
    ...(cxx ? ['-std=c++17'] : []),
    ...flags,
    '-o',
    temporary,
    ...files.map((file) => join(sources, file)),
    '-ldl',
  ]);
  await rename(temporary, target);
  return target;
}
