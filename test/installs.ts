// Which package manager installs the package so that all of it works: tables on standard output, what failed on standard
// error, and status 1 if anything did.
//
//   node dist/test/installs.js [part of a manager's name …]

import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { markdown } from '../bench/table.js';
import { type Result, check, checkElsewhere, columns, places } from './support/installs.js';
import { managers } from './support/managers.js';
import { endWhenStuck } from './support/progress.js';
import { packAll, serve } from './support/registry.js';

endWhenStuck(() => 'test/installs.ts');
const wanted = process.argv.slice(2);
const chosen = managers.filter(
  ({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)),
);

async function row(name: string, results: AsyncIterable<[string, Result]>): Promise<string[]> {
  const cells = [name];
  for await (const [column, result] of results) {
    cells.push(typeof result === 'string' ? result : 'FAILS');
    if (typeof result === 'string') continue;
    console.error(`${name}, ${column}: ${result.message}\n`);
    process.exitCode = 1;
  }
  return cells;
}

const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'malloc-backend-installs-')));
const packed = await packAll(scratch);
const registry = await serve(packed);
try {
  const rows = [];
  for (const manager of chosen) rows.push(await row(manager.name, check(manager, registry, scratch)));
  console.log(`${markdown(['installed by', ...columns], rows)}\n`);
  const tarball = packed.find(({ manifest }) => manifest.name === 'malloc-backend')?.tarball ?? '';
  const others = [];
  for (const npm of chosen.filter((manager) => manager.npx !== undefined))
    others.push(await row(npm.name, checkElsewhere(npm, registry, scratch, tarball)));
  console.log(markdown(['started by', ...places], others));
} finally {
  registry.close();
  rmSync(scratch, { recursive: true, force: true });
}
