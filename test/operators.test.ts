// Every form of C++'s operator new and delete under each backend, also where another allocator is preloaded behind it.

import assert from 'node:assert/strict';
import * as tools from './fixtures-ts/tools.js';
import { compiled } from './support/native.js';
import { run } from './support/run.js';
import { SWITCHING, cannotPreload, notGlibc, shim } from './support/shims.js';
import { beforeAll, describe, test } from './support/suite.js';

let programs: Record<string, string[]>;
let exhaust: string;
let ownMalloc: string;
beforeAll(async () => {
  if (cannotPreload !== false) return;
  exhaust = await compiled('operators');
  if (notGlibc === false) ownMalloc = await compiled('operators-own-malloc');
  programs = {
    'a program': [exhaust],
    'a program that brings the four basic forms itself': [await compiled('operators-replaced')],
    'a library whose C++ runtime nobody else sees': [await compiled('opens'), await compiled('operators.so')],
  };
});

/** All holds: the last line counts as many things right as were looked at. */
async function holds(preload: string, looked = programs): Promise<void> {
  for (const [name, [program = '', ...args]] of Object.entries(looked)) {
    const { code, signal, stdout, stderr } = await run(program, args, { env: { LD_PRELOAD: preload } });
    assert.deepEqual([code, signal, stderr], [0, null, ''], `${name}: ${stdout}`);
    assert.match(stdout, /^(62\d\d) of \1\n$/, name);
  }
}

describe('operator new and delete', { skip: cannotPreload }, () => {
  for (const backend of SWITCHING) {
    test(`all forms on ${backend}`, () => holds(shim(backend)));

    test(`all forms on the malloc of a program that brings one, beside ${backend}`, { skip: notGlibc }, () =>
      holds(shim(backend), { 'its own malloc': [ownMalloc] }),
    );

    for (const [name, library, debianPackage] of tools.foreignAllocators) {
      const file = tools.systemLibrary(library);
      const skip = notGlibc || (file === undefined && `${debianPackage} is not installed`);
      test(`all forms on ${backend}, with a foreign ${name} behind it`, { skip }, () =>
        holds(`${shim(backend)}:${file}`),
      );
    }

    // (snmalloc does not start under such a limit.)
    test(
      `the last of the memory on ${backend}`,
      { skip: backend === 'snmalloc' && 'it reserves more' },
      async () => {
        const limited = ['-c', 'ulimit -v 400000 && exec "$0" exhaust', exhaust];
        const { code, signal, stdout } = await run('sh', limited, { env: { LD_PRELOAD: shim(backend) } });
        assert.deepEqual([code, signal, stdout], [0, null, 'std::bad_alloc, nothrow null\n']);
      },
    );
  }
});
