import { readFileSync, writeSync } from 'node:fs';
import { linuxBinding, notPermitted } from '../native/loader.js';
import type { Launch } from './program.js';

/**
 * Replaces this process's program (`exec`). The process id, the open files and the working directory stay the same. The
 * function does not return.
 *
 * @param env - The environment. Default: that of this process.
 *
 * @throws {@link MallocBackendError} `ERR_EXEC_FAILED`
 */
export function become({ file, argv }: Launch, env?: Record<string, string>): never {
  const { replaceProcess } = linuxBinding();
  closeInspector();
  return replaceProcess(file, argumentBytes(argv), env);
}

/** Prints a line synchronously, because this process is replaced before the next tick. */
export function sayNow(notice: string): void {
  writeSync(2, `malloc-backend: ${notice}\n`);
}

/** Closes an inspector that Node's options have opened: the next program must be able to open the same port. */
function closeInspector(): void {
  if (![process.env['NODE_OPTIONS'], ...process.execArgv].some((option) => option?.includes('--inspect')))
    return;
  // Loaded only in this rare case, to keep the usual start fast.
  const inspector = require('node:inspector') as typeof import('node:inspector');
  inspector.close();
}

/** Node decodes the arguments as UTF-8 and loses all other bytes. The kernel still has the original bytes. */
function argumentBytes(strings: readonly string[]): Uint8Array {
  if (!strings.some((string) => string.includes('\ufffd')))
    return Buffer.from(strings.map((string) => `${string}\0`).join(''));
  const originals = new Map<string, Buffer[]>();
  for (const one of entries(startedWith())) {
    const text = one.toString();
    originals.set(text, [...(originals.get(text) ?? []), one]);
  }
  // From the end: different bytes may decode to the same text, and the words before the command are no longer there.
  const encoded = strings.toReversed().map((string) => originals.get(string)?.pop() ?? Buffer.from(string));
  return Buffer.concat(encoded.reverse().flatMap((string) => [string, ZERO]));
}

const ZERO = Buffer.alloc(1);

/** The command line of this process (proc_pid_cmdline(5)). Empty without /proc. */
function startedWith(): Buffer {
  try {
    return readFileSync('/proc/self/cmdline');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_ACCESS_DENIED')
      throw notPermitted('/proc/self', error);
    return Buffer.alloc(0);
  }
}

/** Splits at the zero bytes. Each entry ends with one. */
function entries(all: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let start = 0, end; (end = all.indexOf(0, start)) !== -1; start = end + 1) {
    found.push(all.subarray(start, end));
  }
  return found;
}
