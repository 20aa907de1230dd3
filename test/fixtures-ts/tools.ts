// What the tests of the TypeScript side share: the command, a scratch folder, small C programs, waiting.

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MallocBackendError } from '../../index.js';
import { type Options, type Outcome, run, succeed } from '../support/run.js';
import { family, watch } from '../support/progress.js';
import { cannotPreload, platform, root } from '../support/shims.js';
import { afterAll } from '../support/suite.js';

export { until } from '../support/progress.js';

/** The command, as it is shipped. */
export const cli = join(root, 'dist', 'cli', 'main.cjs');
/** The command that needs no Node, as npm puts it in place; and that with what starts it. */
export const native = join(root, 'npm', platform, 'malloc-backend');
export const entries: Readonly<Record<string, readonly string[]>> = {
  'in JavaScript': [process.execPath, cli],
  'without Node': [native],
};
/** `malloc-backend/register`. */
export const register = join(root, 'dist', 'src', 'register.js');
/** `malloc-backend`, for an import. */
export const index = pathToFileURL(join(root, 'dist', 'index.js')).href;
/** The platform's package. */
export const binaries = join(root, 'npm', platform);

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'malloc-backend-test-')));
chmodSync(folder, 0o755);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A path in this test file's scratch folder, which others can reach too. */
export const scratch = (name: string) => join(folder, name);

/** A file there, executable unless told otherwise. */
export function file(name: string, content: string | Uint8Array, mode = 0o755): string {
  const path = scratch(name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

/** The program of that name in PATH, if there is one. */
export function which(program: string): string | undefined {
  const { status, stdout } = spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program], { encoding: 'utf8' });
  return status === 0 ? realpathSync(stdout.trim()) : undefined;
}

/** Compiles a few lines of C in the scratch folder. */
export function cc(name: string, source: string, flags: readonly string[] = []): string {
  const from = file(`${name}.c`, source, 0o644);
  execFileSync(process.env['CC'] ?? 'cc', ['-O1', '-w', from, '-o', scratch(name), ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return scratch(name);
}

/** Compiles statically, or gives nothing where the machine has no static C library. */
export function staticProgram(name: string, source: string): string | undefined {
  try {
    return cc(name, source, ['-static']);
  } catch {
    return undefined;
  }
}

/** Copies what it reads to what it writes: a program that lives as long as its input, and shows when it does. */
export const ECHO = `#include <unistd.h>
int main(void) { char c; while (read(0, &c, 1) > 0) write(1, &c, 1); return 0; }`;

/** A library with a malloc that is none of ours: glibc's, by its other names. */
export function foreignLibrary(): string {
  const source = `#define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <stddef.h>
    void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
    void *__libc_memalign(size_t, size_t), __libc_free(void *);
    void *malloc(size_t n) { return __libc_malloc(n); }
    void *calloc(size_t n, size_t m) { return __libc_calloc(n, m); }
    void *realloc(void *p, size_t n) { return __libc_realloc(p, n); }
    void free(void *p) { __libc_free(p); }
    void *memalign(size_t a, size_t n) { return __libc_memalign(a, n); }
    void *aligned_alloc(size_t a, size_t n) { return __libc_memalign(a, n); }
    int posix_memalign(void **p, size_t a, size_t n) { return (*p = __libc_memalign(a, n)) ? 0 : ENOMEM; }
    size_t malloc_usable_size(void *p) {
      return ((size_t (*)(void *))dlsym(dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), "malloc_usable_size"))(p);
    }`;
  return cc('libforeign.so', source, ['-shared', '-fPIC', '-fno-builtin']);
}

/** A copy of the platform package's binaries in another folder; without those named. */
export function copyOfBinaries(name: string, without: readonly string[] = []): string {
  const copy = scratch(name);
  mkdirSync(copy, { recursive: true });
  const { files } = JSON.parse(readFileSync(join(binaries, 'package.json'), 'utf8')) as { files: string[] };
  for (const each of files.filter((name) => /\.(so|node)$|^malloc-backend$/.test(name)))
    if (!without.includes(each)) copyFileSync(join(binaries, each), join(copy, each));
  return copy;
}

/** A library in whose place the loader has none, and says so only there: it is marked as a program that cannot be moved. */
export function ignoredLibrary(name: string): string {
  const library = readFileSync(join(binaries, 'libmalloc_backend_mimalloc.so'));
  library.writeUInt16LE(2, 16); // e_type: ET_EXEC
  return file(name, library, 0o644);
}

/** A port of this machine that nobody has, a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** `malloc-backend …` */
export function command(args: readonly string[], options: Options = {}): Promise<Outcome> {
  return run(process.execPath, [cli, ...args], options);
}

/** What a module of those lines prints as JSON; `m` in it is the package. */
export async function evaluate<Result = unknown>(
  lines: string,
  options: Options & { nodeArgs?: readonly string[]; wrapper?: readonly string[] } = {},
): Promise<Result> {
  const { nodeArgs = [], wrapper = [], ...others } = options;
  const code = `import * as m from ${JSON.stringify(index)};
    const show = (value) => process.stdout.write(JSON.stringify(value ?? null));
    const attempt = (work) => { try { return { value: work() } } catch ({ name, code, message }) { return { name, code, message } } };
    ${lines}`;
  const [program = '', ...args] = [...wrapper, process.execPath, ...nodeArgs];
  const { stdout } = await succeed(program, [...args, '--input-type=module', '-e', code], others);
  return JSON.parse(stdout) as Result;
}

/** That it is the package's error with the code, and a message that matches all of these. */
function assertRefusal(
  error: unknown,
  code: string,
  patterns: readonly RegExp[],
): asserts error is MallocBackendError {
  assert.ok(error instanceof MallocBackendError, String(error));
  assert.equal(error.code, code, error.message);
  for (const pattern of patterns) assert.match(error.message, pattern);
}

/** That a call throws such an error. */
export function refuses(work: () => unknown, code: string, ...patterns: RegExp[]): void {
  assert.throws(work, (error: unknown) => {
    assertRefusal(error, code, patterns);
    assert.equal(error.name, 'MallocBackendError');
    return true;
  });
}

/** That a promise rejects with such an error, which may be of a class of its own. */
export async function rejects(
  work: Promise<unknown>,
  code: string,
  ...patterns: RegExp[]
): Promise<MallocBackendError> {
  const error = await work.then(
    () => assert.fail('it did not reject'),
    (reason: unknown) => reason,
  );
  assertRefusal(error, code, patterns);
  return error;
}

/** A child that is stuck is ended. */
export function watched<Child extends ChildProcess>(child: Child): Child {
  const { pid } = child;
  const watchdog = watch(
    () => (pid === undefined ? [] : family(pid)),
    () => child.kill('SIGKILL'),
  );
  child.once('exit', watchdog.stop);
  return child;
}

/** Starts a program as somebody who is nobody, where that can be done: only root can. */
export const asNobody: readonly string[] = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];

/** Why nothing can be run as somebody else, or false. */
export const cannotBeNobody: string | false = (() => {
  if (process.getuid?.() !== 0) return 'only root can run a program as another user';
  if (which('setpriv') === undefined) return 'setpriv is not installed';
  const [program = '', ...args] = asNobody;
  const seen = spawnSync(program, [...args, process.execPath, cli, '--version']);
  return seen.status === 0 ? false : 'another user cannot reach Node or this checkout';
})();

/** For `--require`: as if this were a Mac. */
export const ELSEWHERE = `Object.defineProperty(process, 'platform', { value: 'darwin' })`;

/** Why no namespace can be made with these options of unshare(1), or false. */
export const unshares = (...options: string[]): string | false =>
  spawnSync('unshare', [...options, 'true']).status !== 0 && 'unshare(1) is not there or not allowed';

/** The allocators that Debian packages, by the name that this package has for each. */
export const foreignAllocators: readonly [name: string, library: string, debianPackage: string][] = [
  ['jemalloc', 'libjemalloc.so.2', 'libjemalloc2'],
  ['mimalloc', 'libmimalloc.so.2', 'libmimalloc2.0'],
  ['tcmalloc', 'libtcmalloc_minimal.so.4', 'libtcmalloc-minimal4'],
];

/** The file of a system library, if it is installed. */
export function systemLibrary(name: string): string | undefined {
  if (cannotPreload !== false) return undefined;
  const known = spawnSync('sh', ['-c', 'PATH=$PATH:/sbin:/usr/sbin ldconfig -p'], { encoding: 'utf8' });
  const line = known.stdout.split('\n').find((each) => each.includes(`${name} `) && each.includes('=> '));
  return line?.split('=> ')[1]?.trim();
}
