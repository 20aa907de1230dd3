import { readFileSync, writeSync } from 'node:fs';
import { linuxBinding, notPermitted } from '../binding.js';
import { MallocBackendError } from '../errors.js';
import type { Launch } from './program.js';

/**
 * Replaces this process's program: same process id, open files and working directory. Does not return.
 *
 * @param env - Default: this process's.
 *
 * @throws {@link MallocBackendError} `ERR_EXEC_FAILED`
 */
export function become({ file, argv }: Launch, env?: NodeJS.ProcessEnv): never {
  const { replaceProcess } = linuxBinding();
  closeInspector();
  const reason = replaceProcess(file, argumentBytes(argv), environmentBytes(env));
  throw new MallocBackendError('ERR_EXEC_FAILED', `cannot start ${file}: ${reason}`);
}

/** Says something before this process is replaced, which is before the next tick. */
export function sayNow(notice: string): void {
  writeSync(2, `malloc-backend: ${notice}\n`);
}

/** The port of an inspector that Node's options have opened must be free when the program opens it again. */
function closeInspector(): void {
  if (![process.env['NODE_OPTIONS'], ...process.execArgv].some((option) => option?.includes('--inspect')))
    return;
  // A module that only this rare case needs is not to cost every start.
  const inspector = require('node:inspector') as typeof import('node:inspector');
  inspector.close();
}

/** Node decodes the arguments as UTF-8 and has lost whatever is not; the kernel still knows it. */
function argumentBytes(strings: readonly string[]): Uint8Array {
  if (!strings.some((string) => string.includes('\ufffd')))
    return Buffer.from(strings.map((string) => `${string}\0`).join(''));
  const originals = new Map<string, Buffer[]>();
  for (const one of entries(startedWith('cmdline'))) {
    const text = one.toString();
    originals.set(text, [...(originals.get(text) ?? []), one]);
  }
  // From the end: what different bytes have become may look the same, and what came before the command is gone.
  const encoded = strings.toReversed().map((string) => originals.get(string)?.pop() ?? Buffer.from(string));
  return Buffer.concat(encoded.reverse().flatMap((string) => [string, ZERO]));
}

/** What Node takes out of the environment when it starts: a child finds the channel to its parent by it. */
const OF_NODE = ['NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE', 'NODE_UNIQUE_ID'];

/** The variables that the loader, a preloaded library or an allocator reads. */
export const SWITCHING = /^(LD_PRELOAD$|GLIBC_TUNABLES$|MALLOC_)|^MIMALLOC_/i;

/**
 * The environment as it came, to the byte, but for what is to change. (Where it came is no longer as it came where glibc has
 * cut GLIBC_TUNABLES apart in place.) Node shows less than that: not what it has taken,
 * no name that is not UTF-8, and nothing without a name.
 */
function environmentBytes(env: NodeJS.ProcessEnv = process.env): Uint8Array {
  const original = entries(startedWith('environ')).map((bytes) => {
    const text = bytes.toString();
    const end = Math.max(0, text.indexOf('='));
    return { bytes, name: text.slice(0, end), value: text.slice(end + 1) };
  });
  // (Of a name that is there twice the first counts.)
  const values = new Map(original.toReversed().map(({ name, value }) => [name, value]));
  const isHidden = (name: string) => name === '' || name.includes('\ufffd') || OF_NODE.includes(name);
  // What switches stands there once: of a name that is there twice the dynamic loader takes the last.
  const seen = new Set<string>();
  const isAgain = (name: string) => SWITCHING.test(name) && (seen.has(name) || !seen.add(name));
  const kept = original
    .filter(({ name }) => env[name] === values.get(name) || (env[name] === undefined && isHidden(name)))
    .filter(({ name }) => !isAgain(name))
    .map(({ bytes }) => bytes);
  const changed = Object.entries(env)
    .filter(([name, value]) => value !== undefined && value !== values.get(name))
    .map(([name, value]) => Buffer.from(`${name}=${value}`));
  return Buffer.concat([...kept, ...changed].flatMap((string) => [string, ZERO]));
}

const ZERO = Buffer.alloc(1);

/** What this process was started with (proc_pid_cmdline(5), proc_pid_environ(5)). Nothing, without a /proc. */
function startedWith(file: 'cmdline' | 'environ'): Buffer {
  try {
    return readFileSync(`/proc/self/${file}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_ACCESS_DENIED')
      throw notPermitted('/proc/self', error);
    return Buffer.alloc(0);
  }
}

/** Each is ended by a zero. */
function entries(all: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let start = 0, end; (end = all.indexOf(0, start)) !== -1; start = end + 1) {
    found.push(all.subarray(start, end));
  }
  return found;
}
