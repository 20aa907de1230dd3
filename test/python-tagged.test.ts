// No foreign free: a hook that marks every block counts those that come back to a domain that did not hand them out.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PythonCounters } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { BACKENDS, SETS, noPython, pythons, python } from './support/pythons.js';
import { root } from './support/shims.js';
import { beforeAll, describe, test } from './support/suite.js';

const program = join(root, 'test', 'python', 'program.py');

describe('blocks that come back', { skip: noPython, concurrent: true }, () => {
  let folder = '';

  beforeAll(() => {
    folder = tools.copyOfBinaries('tagged');
    const args = [
      'rustc',
      '--release',
      '--locked',
      '-p',
      'malloc-backend-python-hook',
      '--features',
      'tagged',
    ];
    execFileSync('cargo', [...args, '--', '-Cpanic=abort'], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const built = join(root, 'target', 'release', 'libmalloc_backend_python_hook.so');
    copyFileSync(built, join(folder, 'libmalloc_backend_python_hook.so'));
  });

  /** What the counters are at the child's end. */
  const counted = async (
    args: string[],
    options: object,
  ): Promise<{ counters: PythonCounters; code: number }> =>
    tools.evaluate(
      `const child = m.spawnPython(${JSON.stringify(args)}, { ...${JSON.stringify(options)}, counters: true, stdio: 'ignore' });
       await child.applied;
       const [code] = await new Promise((resolve) => child.once('exit', (...end) => resolve(end)));
       show({ code, counters: child.pythonCounters() });`,
      { env: { MALLOC_BACKEND_BINARY_DIR: folder } },
    );

  test('one that was not handed out is found', async () => {
    const code = `import ctypes
memory = ctypes.create_string_buffer(64)
api = ctypes.pythonapi
api.PyMem_RawFree.argtypes = [ctypes.c_void_p]
api.PyMem_RawFree(ctypes.addressof(memory) + 32)
api.PyMem_Malloc.restype = ctypes.c_void_p
api.PyMem_Malloc.argtypes = [ctypes.c_size_t]
api.PyMem_RawFree(api.PyMem_Malloc(8))`;
    const options = { python: python?.file, allocatorBackend: 'mimalloc', allocatorMem: true };
    const { counters, code: status } = await counted(['-c', code], options);
    assert.deepEqual([status, counters.raw.foreign, counters.mem.foreign], [0, 2, 0]);
  });

  for (const { file, version } of pythons) {
    for (const [set, options] of Object.entries(SETS)) {
      // Which allocator is beneath makes no difference to what Python hands back: each has its turn.
      const turn = pythons.findIndex((other) => other.file === file) + Object.keys(SETS).indexOf(set);
      const backend = BACKENDS[1 + (turn % (BACKENDS.length - 1))];
      test(`are their own: ${file} (${version}), ${set}, ${backend}`, async () => {
        const { code, counters } = await counted([program], {
          ...options,
          python: file,
          allocatorBackend: backend,
        });
        assert.equal(code, 0);
        for (const [domain, { foreign }] of Object.entries(counters)) assert.equal(foreign, 0, domain);
        assert.ok(counters.raw.allocations > 100);
      });
    }
  }
});
