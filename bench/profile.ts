import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { median, root, scratch } from './measure.js';
import { neutral } from './subjects.js';
import { type Options, type Table, markdown, pairedRatio } from './table.js';

const program = join(root, 'dist/bench/programs/profiled.js');

async function output(words: readonly string[]): Promise<unknown> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', program, ...words], {
    env: neutral(),
  });
  return JSON.parse(stdout);
}

/** Work, with the pairs of blocks of one process, and what a block has: long enough for a clock of microseconds. */
const WORKS: Record<string, readonly [title: string, pairs: number, units: number]> = {
  service: ['a service: HTTP and JSON', 10, 500],
  pictures: ['sharp: 1200 × 800 to 300 × 200', 10, 20],
  mixed: ['only allocates: 1 KiB to 1 MiB', 20, 4000],
  small: ['only allocates: 1000 bytes', 20, 50_000],
  large: ['only allocates: 1 MiB', 20, 4000],
};

/** One loop of `malloc` and `free` in C, whose instructions callgrind counts and nobody else's. */
const LOOP = `#include <stddef.h>
#include <stdlib.h>
void *volatile block;
static void loop(size_t times) {
  for (; times > 0; times--) { block = malloc(100); free(block); }
}
__attribute__((noinline)) void *counted(void *env, void *info) {
  (void)env; (void)info;
  loop(100000);
  return NULL;
}
/* The loader has found both functions, and the block lies ready. */
static void *warm(void *env, void *info) {
  (void)env; (void)info;
  loop(10);
  return NULL;
}
int napi_create_function(void *, const char *, size_t, void *(*)(void *, void *), void *, void **);
int napi_set_named_property(void *, void *, const char *, void *);
void *napi_register_module_v1(void *env, void *exports) {
  void *function;
  napi_create_function(env, "counted", (size_t)-1, counted, NULL, &function);
  napi_set_named_property(env, exports, "counted", function);
  napi_create_function(env, "warm", (size_t)-1, warm, NULL, &function);
  napi_set_named_property(env, exports, "warm", function);
  return exports;
}
`;

const WAYS: Record<string, string> = {
  'without the package': '',
  'the package, no profile': 'require(index);',
  'after a profile': 'const { heapProfile } = require(index); heapProfile.start(); heapProfile.stop();',
  'while a profile runs': 'require(index).heapProfile.start();',
};

async function instructions(way: string): Promise<number> {
  const addon = scratch('counted.node');
  execFileSync('cc', ['-O2', '-fno-builtin', '-shared', '-fPIC', '-o', addon, '-x', 'c', '-'], {
    input: LOOP,
  });
  const index = JSON.stringify(join(root, 'dist/index.cjs'));
  const source = `const index = ${index}; ${way} const { counted, warm } = require(${JSON.stringify(addon)}); warm(); counted();`;
  const options = ['--tool=callgrind', '--callgrind-out-file=/dev/null', '--toggle-collect=counted'];
  const words = [...options, process.execPath, '--jitless', '-e', source];
  const { stderr } = await promisify(execFile)('valgrind', words, { env: neutral() });
  return Number(/Collected : (\d+)/.exec(stderr)?.[1]);
}

async function* run({ runs = 10, quick, program: only, progress }: Options): AsyncIterable<string> {
  const processes = quick ? 1 : runs;
  const is = (name: string): boolean => only === undefined || only === name;
  if (is('instructions') && existsSync('/usr/bin/valgrind')) {
    const rows: string[][] = [];
    let first: number | undefined;
    for (const [way, source] of Object.entries(WAYS)) {
      progress(`instructions ${way}`);
      const count = await instructions(source);
      first ??= count;
      rows.push([way, String(count), (count / 100_000).toFixed(2), String(count - first)]);
    }
    yield markdown(['100,000 × `malloc` and `free`', 'instructions', 'for each pair', 'more'], rows);
  }
  const rows: string[][] = [];
  for (const [name, [title, pairs, units]] of Object.entries(WORKS)) {
    if (!is(name)) continue;
    const all: [number, number][] = [];
    for (let process = 1; process <= processes; process++) {
      progress(`${name} ${process}/${processes}`);
      all.push(...((await output([name, String(quick ? 4 : pairs), String(units)])) as [number, number][]));
    }
    const without = median(all.map(([each]) => each));
    const ratio = pairedRatio(all.map(([one, other]) => [other, one]));
    rows.push([title, `${(without / units).toFixed(1)} µs`, ratio, String(all.length)]);
  }
  if (rows.length > 0) yield markdown(['work', 'CPU of one', 'with ÷ without', 'pairs'], rows);
  if (is('memory')) {
    const used: Record<string, number[]> = { with: [], without: [] };
    let live = 0;
    for (let turn = 1; turn <= (quick ? 1 : 5); turn++)
      for (const way of turn % 2 === 0 ? ['with', 'without'] : ['without', 'with']) {
        progress(`memory ${way} ${turn}`);
        const found = (await output(['memory', way])) as { bytes: number; live: number };
        used[way]!.push(found.bytes);
        live = Math.max(live, found.live);
      }
    const more = used['with']!.map((bytes, at) => (bytes - used['without']![at]!) / 2 ** 20);
    yield `RSS with ${live} samples in use, more than without a profile: ${median(more).toFixed(1)} MiB (${Math.min(
      ...more,
    ).toFixed(1)} to ${Math.max(...more).toFixed(1)}).`;
  }
  if (is('snapshot')) {
    progress('snapshot');
    const { results, live } = (await output(['snapshot', '0', quick ? '5' : '50'])) as {
      results: [number, number][];
      live: number;
    };
    const [idle, busy] = [0, 1].map((at) => results.map((pair) => pair[at]!)) as [number[], number[]];
    const row = (title: string, times: number[]): string[] => [
      title,
      `${median(times).toFixed(2)} ms`,
      `${Math.max(...times).toFixed(2)} ms`,
    ];
    yield markdown(
      ['longest turn of the event loop', 'median', 'longest'],
      [row('nothing happens', idle), row(`\`snapshot()\` of ${live} samples`, busy)],
    );
  }
}

export const profile: Table = { title: 'What a heap profile costs', run };
