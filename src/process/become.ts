import { readFileSync, writeSync } from 'node:fs';
import { linuxBinding, notPermitted } from '../native/loader.js';
import type { Launch } from './program.js';

/**
 * Replaces this process's program: same process id, open files and working directory. Does not return.
 *
 * @param env - Default: this process's.
 *
 * @throws {@link MallocBackendError} `ERR_EXEC_FAILED`
 */
export function become({ file, argv }: Launch, env?: Record<string, string>): never {
  const { replaceProcess } = linuxBinding();
  closeInspector();
  return replaceProcess(file, argumentBytes(argv), env);
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
  for (const one of entries(startedWith())) {
    const text = one.toString();
    originals.set(text, [...(originals.get(text) ?? []), one]);
  }
  // From the end: what different bytes have become may look the same, and what came before the command is gone.
  const encoded = strings.toReversed().map((string) => originals.get(string)?.pop() ?? Buffer.from(string));
  return Buffer.concat(encoded.reverse().flatMap((string) => [string, ZERO]));
}

const ZERO = Buffer.alloc(1);

/** What this process was started with (proc_pid_cmdline(5)). Nothing, without a /proc. */
function startedWith(): Buffer {
  try {
    return readFileSync('/proc/self/cmdline');
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
