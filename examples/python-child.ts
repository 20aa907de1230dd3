/**
 * A Python child with its objects on mimalloc, with proof and counters.
 *
 * `node dist/examples/python-child.js [python]`
 */

import { text } from 'node:stream/consumers';
import { spawnPython } from '../index.js';

const program = `
import json
rows = [{"id": number, "name": f"row {number}", "tags": ["a", "b"] * 3} for number in range(20_000)]
print(len(json.dumps(rows)))`;

const child = spawnPython(['-c', program], {
  ...(process.argv[2] === undefined ? {} : { python: process.argv[2] }),
  allocatorBackend: 'mimalloc',
  allocatorMem: true,
  allocatorObj: true,
  counters: true,
  stdio: ['ignore', 'pipe', 'inherit'],
});

// Before the program's first line: who serves which domain, read back from the interpreter.
const { version, executable, domains } = await child.applied;
console.log(`Python ${version}, ${executable}`);

const printed = await text(child.stdout!);
console.log(`the program printed ${printed.trim()}\n`);

for (const [domain, counters] of Object.entries(child.pythonCounters() ?? {})) {
  const served = domains[domain as keyof typeof domains];
  const by = served === null ? 'left to Python' : `${served.backend} ${served.version}`;
  const { allocations, reallocations, frees } = counters;
  console.log(
    `${domain.padEnd(5)} ${by.padEnd(16)} ${allocations} blocks made, ${reallocations} resized, ${frees} freed`,
  );
}
