/**
 * `node --import malloc-backend/register app.js`, with `MALLOC_BACKEND=mimalloc`: switches this process. The module restarts
 * Node in place before the program begins. The process id, the arguments and the standard streams stay the same.
 *
 * The module reads these variables:
 *
 * - `MALLOC_BACKEND`: the backend. Required, unless `MALLOC_BACKEND_CONFIG` is set.
 * - `MALLOC_BACKEND_CONFIG`: a configuration file. The other variables override the file.
 * - `MALLOC_BACKEND_PRESET`: the preset. Default: `balanced`.
 * - `MALLOC_BACKEND_CHILDREN`: `inherit` (the default) or `none`.
 * - `MALLOC_BACKEND_IF_SUPPORTED`: with `1`, on macOS and Windows, the program runs without a switch, and the module prints a
 *   line on standard error.
 *
 * The module does nothing if the process already runs on the backend, and nothing in workers. It also does nothing in the
 * children of a process with `none`, unless the child's environment sets another backend or sets `MALLOC_BACKEND_CHILDREN`.
 * The module restarts Node only once: if the switch had no effect, it throws `ERR_NOT_APPLIED`, and the program does not
 * begin.
 */

import './bundled.js';
import { readFileSync } from 'node:fs';
import inspector from 'node:inspector';
import { isMainThread } from 'node:worker_threads';
import { parseBackend } from './backend.js';
import { invalidArgument, MallocBackendError } from './errors.js';
import { notPermitted } from './native/loader.js';
import { become, sayNow } from './process/become.js';
import { chosen } from './process/config.js';
import { definedVariables, parseChildren, switchedEnvironment, variables } from './process/environment.js';
import { activeBackend } from './process/owner.js';
import { before, isFile } from './process/preloads.js';
import { parsePreset } from './process/presets.js';
import { prepareLaunch } from './process/program.js';
import { isSupported, leaveOut } from './process/supported.js';

/** `<pid>:<start time>:<children>:<backend>` of the process that restarted Node. */
const MARK = 'MALLOC_BACKEND_REGISTERED';

/** With `1`, the program runs without a switch on a platform that cannot switch, and a line on standard error says so. */
const IF_SUPPORTED = 'MALLOC_BACKEND_IF_SUPPORTED';

if (isMainThread) register(programEnvironment());

function register(given: NodeJS.ProcessEnv): void {
  const read = <T>(variable: string, parse: (value: string | undefined) => T): T =>
    parsed(variable, given[variable], parse);
  const [name, config] = [given['MALLOC_BACKEND'] || undefined, given['MALLOC_BACKEND_CONFIG'] || undefined];
  if (name === undefined && config === undefined) {
    throw invalidArgument(
      'malloc-backend/register was imported, but MALLOC_BACKEND is not set; set MALLOC_BACKEND to a backend or to "default", ' +
        'or set MALLOC_BACKEND_CONFIG to a configuration file',
    );
  }
  if (name !== undefined) read('MALLOC_BACKEND', parseBackend);
  if (!isSupported()) {
    const asked = { by: `${IF_SUPPORTED}=1`, given: read(IF_SUPPORTED, parseSwitch) };
    return leaveOut(asked, 'the program runs without a switch');
  }
  const preset = read('MALLOC_BACKEND_PRESET', (preset) =>
    preset === undefined ? undefined : parsePreset(preset),
  );
  const children = read(variables.children, (wanted) =>
    wanted === undefined ? undefined : parseChildren(wanted),
  );
  const { backend, ...choice } = read('MALLOC_BACKEND_CONFIG', () =>
    chosen({
      backend: name,
      config,
      ...(preset === undefined ? {} : { preset }),
      ...(children === undefined ? {} : { children }),
    }),
  );
  const mark = process.env[MARK]?.split(':') ?? [];
  const [pid, started, inherited, inheritedBackend] = mark;
  const again = pid === String(process.pid) && started === startTime();
  // The parent has `none`, and this child's own environment asks for no switch.
  if (!again && inherited === 'none' && inheritedBackend === backend && children === undefined) return;
  const active = activeBackend();
  if (active.backend === backend && (backend !== 'default' || inherited !== undefined)) return;
  if (again) {
    throw new MallocBackendError(
      'ERR_NOT_APPLIED',
      `Node was restarted for ${backend}, but still uses the malloc of ${active.owner}`,
    );
  }
  requireNothingRead();
  const args = process.argv.slice(1);
  // Node has removed a `--`. Without it, an argument of the program could look like an option of Node.
  const separator = args[0] !== '-' && args[0]?.startsWith('-') ? ['--'] : [];
  const argv = [process.argv0, ...process.execArgv, ...separator, ...args];
  const env = switchedEnvironment(backend, { ...choice, env: given }, { probe: true, tell: sayNow });
  // The process is on libc's malloc already, so only the options of a preset need a restart.
  if (active.backend === backend && env[variables.restore] === undefined) return;
  env[MARK] = `${process.pid}:${startTime()}:${choice.children ?? 'inherit'}:${backend}`;
  const launch = prepareLaunch(backend, process.execPath, argv.slice(1));
  sayWhatRunsTwice();
  // Another module may have opened the inspector, and will open it again after the restart.
  inspector.close();
  become({ file: launch.file, argv }, definedVariables(env));
}

/** Tells which modules run twice: Node has run them before this module, and runs them again after the restart. */
function sayWhatRunsTwice(): void {
  const isThis = (specifier: string) =>
    specifier === 'malloc-backend/register' || isFile(specifier, __filename);
  const earlier = before(isThis);
  if (earlier.length === 0) return;
  const backend = process.env['MALLOC_BACKEND'] ?? 'the switch';
  sayNow(
    `Node restarts for ${backend}, and runs ${earlier.join(', ')} twice; to avoid this, name malloc-backend/register ` +
      'first, with --require',
  );
}

function parseSwitch(value: string | undefined): boolean {
  if (value === undefined || value === '' || value === '0') return false;
  if (value === '1') return true;
  throw invalidArgument(`it must be 1 or 0, not ${JSON.stringify(value)}`);
}

/**
 * The environment of the program. In a worker of PM2's cluster mode, one variable contains all others, and PM2 sets them when
 * the program begins. This is too late for the variables that the dynamic loader and an allocator read.
 */
function programEnvironment(): NodeJS.ProcessEnv {
  const packed = process.env['pm2_env'];
  if (packed === undefined) return process.env;
  let unpacked: unknown;
  try {
    unpacked = JSON.parse(packed);
  } catch {
    // The variable is not PM2's.
  }
  // The same names as `switches` in crates/launch/src/entries.rs.
  const switching = /^(LD_PRELOAD$|GLIBC_TUNABLES$|MALLOC_)|^MIMALLOC_/i;
  const early = Object.entries(unpacked ?? {})
    .filter(([name, value]) => switching.test(name) && ['string', 'number', 'boolean'].includes(typeof value))
    .map(([name, value]) => [name, String(value)]);
  return { ...process.env, ...Object.fromEntries(early) };
}

/** The parsed value of a variable. An error names the variable. */
function parsed<T>(variable: string, value: string | undefined, parse: (value: string | undefined) => T): T {
  try {
    return parse(value);
  } catch (error) {
    if (!(error instanceof MallocBackendError)) throw error;
    throw new MallocBackendError(error.code, `${variable}: ${error.message}`, { cause: error });
  }
}

/** Between `--require` and `--import`, Node may read input that a restarted Node could not read again. Then refuse. */
function requireNothingRead(): void {
  const { _eval: program } = process as { _eval?: string };
  const fromInput = program !== undefined && !process.execArgv.some((arg) => arg.endsWith(program));
  const channel = (process.channel ?? {}) as Record<symbol, unknown[]>;
  const pending = Object.getOwnPropertySymbols(channel).find(
    ({ description }) => description === 'kPendingMessages',
  );
  const messages = pending === undefined ? 0 : (channel[pending]?.length ?? 0);
  if (!fromInput && messages === 0) return;
  throw new MallocBackendError(
    'ERR_CANNOT_SWITCH',
    `Node has read ${fromInput ? 'the program from standard input' : 'messages of its parent'} before --import, and ` +
      'would lose this input in a restart; use --require malloc-backend/register instead',
  );
}

/** The start time in clock ticks since boot. With the process id, it identifies a process for ever (proc_pid_stat(5)). */
function startTime(): string {
  let stat;
  try {
    stat = readFileSync('/proc/self/stat', 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_ACCESS_DENIED')
      throw notPermitted('/proc/self', error);
    throw new MallocBackendError(
      'ERR_CANNOT_SWITCH',
      'there is no /proc, so Node cannot tell whether it was already restarted; mount /proc (mount -t proc proc /proc), ' +
        'or start Node with "malloc-backend run <backend> -- node …", which does not need /proc',
      { cause: error },
    );
  }
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
