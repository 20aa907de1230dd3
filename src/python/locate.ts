import { execFile } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { MallocBackendError, shown } from '../errors.js';
import { findProgram } from '../process/program.js';
import type { PythonConfig } from './config.js';

/** Where an interpreter's parts are. */
export interface Located {
  /** The shared library. */
  libpython: string;
  /** The interpreter: in a virtual environment, the one there. */
  executable: string;
}

/** What the interpreter says of itself. */
interface Described {
  implementation: string;
  version: [number, number, number];
  executable: string;
  freeThreaded: boolean;
  prefix: string;
  variables: Record<'INSTSONAME' | 'LDLIBRARY' | 'LIBDIR' | 'LIBPL' | 'MULTIARCH', string | null>;
}

const QUESTION = `
import json, sys, sysconfig
names = ('INSTSONAME', 'LDLIBRARY', 'LIBDIR', 'LIBPL', 'MULTIARCH')
print(json.dumps({
    'implementation': sys.implementation.name,
    'version': sys.version_info[:3],
    'executable': sys.executable,
    'freeThreaded': bool(sysconfig.get_config_var('Py_GIL_DISABLED')),
    'prefix': sys.base_prefix,
    'variables': {name: sysconfig.get_config_var(name) for name in names},
}))`;

const answers = new Map<string, Promise<Described>>();

/**
 * The shared library of an interpreter, which is asked for it once, in a child.
 *
 * @throws {@link MallocBackendError} (by rejection) `ERR_INVALID_ARGUMENT`, `ERR_PROGRAM_NOT_FOUND`,
 * `ERR_PROGRAM_NOT_EXECUTABLE`, `ERR_PYTHON_UNSUPPORTED`, `ERR_LIBPYTHON_NOT_FOUND`
 */
export async function locatePython(
  python: unknown,
  libpython: unknown,
  config: PythonConfig,
): Promise<Located> {
  for (const [name, value] of Object.entries({ python, libpython })) {
    if (typeof value === 'string' || (name === 'libpython' && value === undefined)) continue;
    throw new MallocBackendError('ERR_INVALID_ARGUMENT', `${name} must be a path, not ${shown(value)}`);
  }
  const file = resolve(findProgram(python as string, process.cwd(), process.env, 'the interpreter'));
  const described = await ask(file);
  requireSupported(file, described, config);
  if (libpython !== undefined) {
    const given = resolve(libpython as string);
    if (existsSync(given)) return { libpython: given, executable: described.executable };
    throw new MallocBackendError('ERR_LIBPYTHON_NOT_FOUND', `libpython, ${given}, does not exist`);
  }
  const candidates = sharedLibraries(described);
  const found = candidates.find((candidate) => existsSync(candidate));
  if (found !== undefined) return { libpython: realpathSync(found), executable: described.executable };
  throw new MallocBackendError(
    'ERR_LIBPYTHON_NOT_FOUND',
    `${file} (Python ${described.version.join('.')}) has no shared library: it was built without --enable-shared, or ` +
      `the package with ${candidates.map((candidate) => basename(candidate))[0]} is not installed; looked in ` +
      `${[...new Set(candidates.map((candidate) => dirname(candidate)))].join(', ')}. Name it in libpython, choose ` +
      'another interpreter, or use spawnPython, which needs none',
  );
}

function ask(file: string): Promise<Described> {
  const known = answers.get(file);
  if (known !== undefined) return known;
  const answer = promisify(execFile)(file, ['-c', QUESTION], { timeout: 60_000 }).then(
    ({ stdout }) => JSON.parse(stdout) as Described,
    (error: Error & { stderr?: string }) => {
      answers.delete(file);
      const why = error.stderr?.trim().split('\n').at(-1) ?? error.message;
      throw new MallocBackendError(
        'ERR_PYTHON_UNSUPPORTED',
        `${file} does not answer as a Python does: ${why}`,
      );
    },
  );
  answers.set(file, answer);
  return answer.catch((error: unknown) => {
    answers.delete(file);
    throw error instanceof MallocBackendError
      ? error
      : new MallocBackendError('ERR_PYTHON_UNSUPPORTED', `${file} does not answer as a Python does`);
  });
}

function requireSupported(file: string, described: Described, { backend, domains }: PythonConfig): void {
  const { implementation, version, freeThreaded } = described;
  const unsupported = (why: string) => new MallocBackendError('ERR_PYTHON_UNSUPPORTED', `${file} ${why}`);
  if (implementation !== 'cpython')
    throw unsupported(`is ${implementation}, and only CPython has such domains`);
  const [major, minor] = version;
  if (major < 3 || (major === 3 && minor < 8)) {
    throw unsupported(`is Python ${version.join('.')}, which is older than 3.8`);
  }
  if (freeThreaded && backend !== 'default' && (domains.mem || domains.obj || domains.arena)) {
    throw unsupported(
      `is Python ${version.join('.')}, free-threaded, and its objects are bound to the mimalloc within it; only ` +
        'allocatorRaw can be on',
    );
  }
}

/** Where the library may be: as the build says, then where distributions put it. */
function sharedLibraries({ version, prefix, variables }: Described): string[] {
  const { INSTSONAME, LDLIBRARY, LIBDIR, LIBPL, MULTIARCH } = variables;
  const release = `${version[0]}.${version[1]}`;
  const names = [INSTSONAME, LDLIBRARY, `libpython${release}.so.1.0`, `libpython${release}.so`].filter(
    (name): name is string => name !== null && /\.so(\.|$)/.test(name),
  );
  const folders = [
    LIBDIR,
    LIBDIR !== null && MULTIARCH ? join(LIBDIR, MULTIARCH) : null,
    join(prefix, 'lib'),
    MULTIARCH ? join('/usr/lib', MULTIARCH) : null,
    LIBPL,
    '/usr/lib64',
    '/usr/local/lib',
  ].filter((folder): folder is string => folder !== null && isAbsolute(folder));
  return [...new Set(names.flatMap((name) => folders.map((folder) => join(folder, name))))];
}
