// The Pythons of this machine: Debian's, and those of pyenv.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

export interface Python {
  file: string;
  version: string;
  minor: number;
}

function found(file: string): Python[] {
  if (!existsSync(file)) return [];
  const version = execFileSync(file, ['-c', 'import platform; print(platform.python_version())'], {
    encoding: 'utf8',
  }).trim();
  const [major, minor = 0] = version.split('.').map(Number);
  return major === 3 ? [{ file, version, minor }] : [];
}

const pyenv = join(process.env['PYENV_ROOT'] ?? join(homedir(), '.pyenv'), 'versions');
const folders = existsSync(pyenv) ? readdirSync(pyenv).sort() : [];
const all = [
  ...found('/usr/bin/python3'),
  ...folders.flatMap((folder) => found(join(pyenv, folder, 'bin', 'python3'))),
].sort((one, other) => one.minor - other.minor);

/** Those that the package supports. */
export const pythons = all.filter(({ minor }) => minor >= 8);
/** One that is too old, if there is one. */
export const tooOld = all.find(({ minor }) => minor < 8);
/** The one for tests that need any. */
export const python = pythons.find(({ file }) => file === '/usr/bin/python3') ?? pythons[0];

/** Why a test that needs a Python cannot run; false where it can. */
export const noPython: string | false =
  process.platform !== 'linux'
    ? `Python's domains are set on Linux only, not on ${process.platform}`
    : pythons.length === 0 && 'no Python from 3.8 on is installed';

export const BACKENDS = ['default', 'jemalloc', 'mimalloc', 'snmalloc', 'rust'] as const;

/** The domain sets that are tested, as options. */
export const SETS = {
  raw: {},
  'raw+mem+obj': { allocatorMem: true, allocatorObj: true },
  'raw+arena': { allocatorPymallocArena: true },
  'raw+debug': { allocatorDebug: true },
  'raw+mem+obj+debug': { allocatorMem: true, allocatorObj: true, allocatorDebug: true },
} as const;
