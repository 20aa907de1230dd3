import { dirname } from 'node:path';
import { parsePythonConfig } from '../src/python/config.js';
import { locatePython } from '../src/python/locate.js';
import { compile } from './measure.js';
import { allocators, calledDirectly, callgrind, perPair } from './pair.js';
import { plainPython, pythonOn, pythonVersion } from './python-subjects.js';
import { markdown, type Options, type Table } from './table.js';

/** What CPython spends before a table's functions are reached, and after. */
async function dispatch(program: string): Promise<number> {
  const [few, many] = [100_000, 1_100_000];
  const counted = async (way: string): Promise<number> => {
    const [less, more] = [
      await callgrind(program, [way, String(few)], plainPython()),
      await callgrind(program, [way, String(many)], plainPython()),
    ];
    return (more - less) / (many - few);
  };
  return (await counted('through')) - (await counted('direct'));
}

async function* run({ python, progress }: Options): AsyncIterable<string> {
  const { libpython } = await locatePython(python, undefined, parsePythonConfig({}));
  const linked = [libpython, `-Wl,-rpath,${dirname(libpython)}`];
  const through = compile('pair', {
    as: 'pair-python',
    flags: ['-DALLOCATE=PyMem_RawMalloc', '-DRELEASE=PyMem_RawFree', ...linked],
  });
  progress('CPython’s own part');
  const own = await dispatch(compile('dispatch', { flags: linked }));
  const libc = compile('pair');
  const rows: string[][] = [];
  const row = async (
    name: string,
    direct: string,
    env: NodeJS.ProcessEnv,
    sizes: readonly number[],
  ): Promise<void> => {
    for (const size of sizes) {
      progress(`${name} ${size}`);
      const base = await perPair(name, direct, size, plainPython());
      const hooked = await perPair(name, through, size, env);
      const gross = hooked - base;
      rows.push([
        name,
        String(size),
        base.toFixed(1),
        hooked.toFixed(1),
        gross.toFixed(1),
        (gross - own).toFixed(1),
      ]);
    }
  };
  const sizes = [8, 64, 1024];
  await row('plain Python: libc', libc, plainPython(), sizes);
  for (const allocator of allocators) {
    await row(allocator, calledDirectly(allocator), pythonOn(allocator, 'raw'), sizes);
  }
  await row('rust: libc and a header', libc, pythonOn('rust', 'raw'), sizes);
  const head = ['allocator', 'size', 'called directly', 'through CPython', 'more', 'net'];
  yield `${markdown(head, rows)}\n\n_${pythonVersion(python)}, its shared library. CPython itself spends ${own.toFixed(1)} instructions a pair on its way to any table (bench/c/dispatch.c); \`net\` is without them._`;
}

export const pythonPair: Table = {
  title: 'Instructions of a PyMem_RawMalloc and PyMem_RawFree pair (callgrind; snmalloc by single steps)',
  run,
};
