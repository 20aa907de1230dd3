import { readFileSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { linuxBinding } from '../binding.js';
import { MallocBackendError } from '../errors.js';
import type { Launch } from './program.js';

/**
 * Replaces this process's program: same process id, open files and working directory. Does not return.
 *
 * @throws {@link MallocBackendError} `ERR_EXEC_FAILED`
 */
export function become({ file, argv }: Launch, env: NodeJS.ProcessEnv): never {
  const lines = Object.entries(env).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}`],
  );
  const errno = linuxBinding().replaceProcess(
    file,
    bytes(argv, 'cmdline'),
    bytes(lines, 'environ'),
    isUnderNpx(),
  );
  const [code, message] = getSystemErrorMap().get(-errno) ?? [`error ${errno}`, ''];
  throw new MallocBackendError('ERR_EXEC_FAILED', `cannot start ${file}: ${code} ${message}`.trimEnd());
}

/**
 * Whether the parent is the shell in which npx starts a command. npx hands it the signals that it gets; the shell ends,
 * and would leave the program behind. A tool that npx started passes npm's variables on to shells of its own: the one
 * that is meant is a child of npx itself. Without a /proc that shows them, it is not known to be one.
 */
function isUnderNpx(): boolean {
  if (process.env['npm_command'] !== 'exec') return false;
  try {
    const shell = `/proc/${process.ppid}`;
    if (!readFileSync(`${shell}/cmdline`, 'latin1').startsWith('sh\0-c\0')) return false;
    const stat = readFileSync(`${shell}/stat`, 'latin1');
    const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // npm gives itself a title: its command, before its arguments.
    return /^npm exec\b|\/np[mx](-cli\.js)?\0/.test(readFileSync(`/proc/${parent}/cmdline`, 'latin1'));
  } catch {
    return false;
  }
}

/**
 * The strings as bytes, each ended by a zero. Node decodes the arguments and the environment as UTF-8 and has lost
 * whatever is not; the kernel still knows it.
 */
function bytes(strings: readonly string[], original: 'cmdline' | 'environ'): Uint8Array {
  if (!strings.some((string) => string.includes('\ufffd')))
    return Buffer.from(strings.map((string) => `${string}\0`).join(''));
  const originals = new Map<string, Buffer[]>();
  const all = readFileSync(`/proc/self/${original}`);
  for (let start = 0, end; (end = all.indexOf(0, start)) !== -1; start = end + 1) {
    const one = all.subarray(start, end);
    const text = one.toString();
    originals.set(text, [...(originals.get(text) ?? []), one]);
  }
  const zero = Buffer.alloc(1);
  // From the end: what different bytes have become may look the same, and what came before the command is gone.
  const encoded = strings.toReversed().map((string) => originals.get(string)?.pop() ?? Buffer.from(string));
  return Buffer.concat(encoded.reverse().flatMap((string) => [string, zero]));
}
