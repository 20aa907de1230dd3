// Which package manager installs the package so that all of it works: a table on standard output, what failed on standard
// error, and status 1 if anything did.
//
//   node dist/test/installs.js [part of a manager's name …]

import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { markdown } from '../bench/table.js';
import { check, columns } from './support/installs.js';
import { managers } from './support/managers.js';
import { packAll, serve } from './support/registry.js';

const wanted = process.argv.slice(2);
const chosen = managers.filter(
  ({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)),
);
const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'malloc-backend-installs-')));
const registry = await serve(await packAll(scratch));
try {
  const rows = [];
  for (const manager of chosen) {
    const row: string[] = [manager.name];
    for await (const [column, result] of check(manager, registry, scratch)) {
      if (result !== 'yes') {
        console.error(`${manager.name}, ${column}: ${result.message}\n`);
        process.exitCode = 1;
      }
      row.push(result === 'yes' ? 'yes' : 'FAILS');
    }
    console.error(row.join(' | '));
    rows.push(row);
  }
  console.log(markdown(['installed by', ...columns], rows));
} finally {
  registry.close();
  rmSync(scratch, { recursive: true, force: true });
}
