import { execFile } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { invalidArgument, MallocBackendError, shown } from '../errors.js';
import { findProgram } from '../process/program.js';
import type { PythonConfig } from './config.js';

/** The files of an interpreter. */
export interface Located {
  /** The shared library. */
  libpython: string;
  /** The interpreter. For a virtual environment, the file in the virtual environment. */
  executable: string;
}

/** The interpreter's answer to `QUESTION`. */
interface Described {
  implementation: string;
  version: [number, number, number];
  executable: string;
  freeThreaded: boolean;
  prefix: string;
  variables: Record<'INSTSONAME' | 'LDLIBRARY' | 'LIBDIR' | 'LIBPL' | 'MULTIARCH', string | null>;
}

/** Marks the start of the answer. Modules that Python loads at its start may print before. */
const MARK = 'malloc-backend asks ';

const QUESTION = `
import sys
if sys.path[:1] == ['']: del sys.path[0]
import json, sysconfig
names = ('INSTSONAME', 'LDLIBRARY', 'LIBDIR', 'LIBPL', 'MULTIARCH')
print('\\n${MARK}' + json.dumps({
    'implementation': sys.implementation.name,
    'version': sys.version_info[:3],
    'executable': sys.executable,
    'freeThreaded': bool(sysconfig.get_config_var('Py_GIL_DISABLED')),
    'prefix': sys.base_prefix,
    'variables': {name: sysconfig.get_config_var(name) for name in names},
}))`;

const answers = new Map<string, Promise<Described>>();

/**
 * Finds the shared library of an interpreter. The interpreter runs once, in a child, to say where the library is.
 *
 * @throws {@link MallocBackendError} (by rejection) `ERR_INVALID_ARGUMENT`, `ERR_PROGRAM_NOT_FOUND`,
 * `ERR_PROGRAM_NOT_EXECUTABLE`, `ERR_PYTHON_UNSUPPORTED`, `ERR_LIBPYTHON_NOT_FOUND`
 */
export async function locatePython(
  python: unknown,
  libpython: unknown,
  config: PythonConfig,
  env: NodeJS.ProcessEnv = process.env,
  isolated = false,
): Promise<Located> {
  for (const [name, value] of Object.entries({ python, libpython })) {
    if (typeof value === 'string' || value === undefined) continue;
    throw invalidArgument(`${name} must be a path, not ${shown(value)}`);
  }
  const given = libpython === undefined ? undefined : existing(libpython as string);
  const command = (python as string | undefined) ?? (given && interpreterOf(given)) ?? 'python3';
  const file = findProgram(command, { env }, 'the interpreter');
  const described = await ask(file, env, isolated);
  requireSupported(file, described, config);
  if (given !== undefined) {
    requireSameRelease(given, file, described);
    return { libpython: given, executable: described.executable };
  }
  const candidates = sharedLibraries(described);
  const found = candidates.find((candidate) => existsSync(candidate));
  if (found !== undefined) return { libpython: realpathSync(found), executable: described.executable };
  throw new MallocBackendError(
    'ERR_LIBPYTHON_NOT_FOUND',
    `${file} (Python ${described.version.join('.')}) has no shared library: it was built without --enable-shared, or ` +
      `the package with ${candidates.map((candidate) => basename(candidate))[0]} is not installed. The library is not in ` +
      `${[...new Set(candidates.map((candidate) => dirname(candidate)))].join(', ')}. Name the library in libpython, ` +
      'choose another interpreter, or use spawnPython, which needs no shared library',
  );
}

function existing(libpython: string): string {
  const file = resolve(libpython);
  if (existsSync(file)) return file;
  throw new MallocBackendError('ERR_LIBPYTHON_NOT_FOUND', `libpython, ${file}, does not exist`);
}

/** The release from the library's name, such as `3.11`. Some names contain no release. */
const releaseOf = (libpython: string): string | undefined =>
  /^libpython(\d+\.\d+)/.exec(basename(realpathSync(libpython)))?.[1];

/** The interpreter that belongs to the library: in a `bin` inside one of the folders above the library. */
function interpreterOf(libpython: string): string | undefined {
  const release = releaseOf(libpython);
  if (release === undefined) return undefined;
  let folder = dirname(libpython);
  while (folder !== dirname(folder)) {
    const candidate = join(folder, 'bin', `python${release}`);
    if (existsSync(candidate)) return candidate;
    folder = dirname(folder);
  }
  return undefined;
}

function requireSameRelease(libpython: string, file: string, { version }: Described): void {
  const [library, interpreter] = [releaseOf(libpython), version.slice(0, 2).join('.')];
  if (library === undefined || library === interpreter) return;
  throw new MallocBackendError(
    'ERR_PYTHON_CONFIG',
    `${libpython} is Python ${library}, but its modules would come from ${file}, which is Python ${interpreter}; name in ` +
      'python the interpreter of this library, or omit libpython',
  );
}

function ask(file: string, env: NodeJS.ProcessEnv, isolated: boolean): Promise<Described> {
  const key = JSON.stringify([file, env, isolated]);
  const known = answers.get(key);
  if (known !== undefined) return known;
  // All callers that ask at the same time share this promise, also if it is rejected.
  const answer = promisify(execFile)(file, [...(isolated ? ['-I'] : []), '-c', QUESTION], {
    env,
    timeout: 60_000,
  })
    .then(({ stdout }) => JSON.parse(stdout.split(MARK).at(-1) ?? '') as Described)
    .catch((error: Error & { stderr?: string; code?: unknown }) => {
      answers.delete(key);
      throw new MallocBackendError(
        'ERR_PYTHON_UNSUPPORTED',
        `${file} does not answer as Python would: ${whyNoAnswer(error)}`,
      );
    });
  answers.set(key, answer);
  return answer;
}

/** A longer line repeats the question. */
const LONGEST_LINE = 200;

function whyNoAnswer(error: Error & { stderr?: string; code?: unknown; signal?: string | null }): string {
  if (error instanceof SyntaxError) return 'it printed something else';
  const said = error.stderr?.trim().split('\n').at(-1) ?? '';
  if (said !== '' && said.length <= LONGEST_LINE) return said;
  // With a signal or a status, the error's own message contains the question.
  if (error.signal) return `it was ended by ${error.signal}`;
  return typeof error.code === 'number' ? `it exited with status ${error.code}` : error.message;
}

function requireSupported(file: string, described: Described, { backend, domains }: PythonConfig): void {
  const { implementation, version, freeThreaded } = described;
  const unsupported = (why: string) => new MallocBackendError('ERR_PYTHON_UNSUPPORTED', `${file} ${why}`);
  if (implementation !== 'cpython')
    throw unsupported(`is ${implementation}, and only CPython has allocator domains`);
  const [major, minor] = version;
  if (major < 3 || (major === 3 && minor < 8)) {
    throw unsupported(`is Python ${version.join('.')}, which is older than 3.8`);
  }
  if (freeThreaded && backend !== 'default' && (domains.mem || domains.obj || domains.arena)) {
    throw unsupported(
      `is Python ${version.join('.')}, free-threaded, and its objects need its own mimalloc; only allocatorRaw can be on`,
    );
  }
}

/** The possible files of the library: first the file that the build names, then the usual folders of distributions. */
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
