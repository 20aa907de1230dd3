/**
 * `node --import malloc-backend/register app.js`, with `MALLOC_BACKEND=mimalloc`: switches this very process, by
 * starting Node again in place, before the program begins. Same process id, arguments and standard streams.
 *
 * It reads these variables: `MALLOC_BACKEND` (a backend) or `MALLOC_BACKEND_CONFIG` (a configuration file); one of them is
 * required. `MALLOC_BACKEND_PRESET` (default `balanced`) and `MALLOC_BACKEND_CHILDREN` (`inherit`, the default, or `none`)
 * win over the file. `MALLOC_BACKEND_IF_SUPPORTED` (`1`: on macOS and Windows, the program runs without a switch, and a line
 * on standard error says so).
 *
 * It does nothing where the process runs on the backend already, in workers, and in what a process with `none` starts,
 * unless that is given another backend or a `MALLOC_BACKEND_CHILDREN` of its own. It never starts Node twice: if the
 * switch had no effect it throws `ERR_NOT_APPLIED`, and the program does not begin.
 */

import './bundled.js';
import { readFileSync } from 'node:fs';
import inspector from 'node:inspector';
import { isMainThread } from 'node:worker_threads';
import { parseBackend } from './backend.js';
import { MallocBackendError } from './errors.js';
import { notPermitted } from './native/loader.js';
import { become, sayNow } from './process/become.js';
import { chosen } from './process/config.js';
import { definedVariables, parseChildren, switchedEnvironment, variables } from './process/environment.js';
import { activeBackend } from './process/owner.js';
import { before, isFile } from './process/preloads.js';
import { parsePreset } from './process/presets.js';
import { prepareLaunch } from './process/program.js';
import { isSupported, leaveOut } from './process/supported.js';

/** `<pid>:<start time>:<children>:<backend>` of the process that started Node again. */
const MARK = 'MALLOC_BACKEND_REGISTERED';

/** `1`: where there is no switch the program runs without one, and a line on standard error says so. */
const IF_SUPPORTED = 'MALLOC_BACKEND_IF_SUPPORTED';

if (isMainThread) register(programEnvironment());

function register(given: NodeJS.ProcessEnv): void {
  const read = <T>(variable: string, parse: (value: string | undefined) => T): T =>
    parsed(variable, given[variable], parse);
  const [name, config] = [given['MALLOC_BACKEND'] || undefined, given['MALLOC_BACKEND_CONFIG'] || undefined];
  if (name === undefined && config === undefined) {
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
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
  // A child of a process that wanted its children left alone, and has been asked for nothing of its own.
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
  // Node has taken a -- away, behind which an argument may look like an option of its own.
  const separator = args[0] !== '-' && args[0]?.startsWith('-') ? ['--'] : [];
  const argv = [process.argv0, ...process.execArgv, ...separator, ...args];
  const env = switchedEnvironment(backend, { ...choice, env: given }, { probe: true, tell: sayNow });
  // For libc's malloc, where it is in place, only the preset is a reason to start again.
  if (active.backend === backend && env[variables.restore] === undefined) return;
  env[MARK] = `${process.pid}:${startTime()}:${choice.children ?? 'inherit'}:${backend}`;
  const launch = prepareLaunch(backend, process.execPath, argv.slice(1));
  sayWhatRunsTwice();
  // Also one that another module has opened, and will again.
  inspector.close();
  become({ file: launch.file, argv }, definedVariables(env));
}

/** What Node has run before this module it runs again. */
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
  throw new MallocBackendError('ERR_INVALID_ARGUMENT', `it must be 1 or 0, not ${JSON.stringify(value)}`);
}

/**
 * The environment of the program. In a worker of PM2's cluster mode it comes in one variable, and PM2 makes the others of it
 * when the program begins: too late for what the dynamic loader and an allocator read.
 */
function programEnvironment(): NodeJS.ProcessEnv {
  const packed = process.env['pm2_env'];
  if (packed === undefined) return process.env;
  let unpacked: unknown;
  try {
    unpacked = JSON.parse(packed);
  } catch {
    // Not PM2's.
  }
  // As `switches` in crates/launch/src/entries.rs.
  const switching = /^(LD_PRELOAD$|GLIBC_TUNABLES$|MALLOC_)|^MIMALLOC_/i;
  const early = Object.entries(unpacked ?? {})
    .filter(([name, value]) => switching.test(name) && ['string', 'number', 'boolean'].includes(typeof value))
    .map(([name, value]) => [name, String(value)]);
  return { ...process.env, ...Object.fromEntries(early) };
}

/** What the variable says; an error names it. */
function parsed<T>(variable: string, value: string | undefined, parse: (value: string | undefined) => T): T {
  try {
    return parse(value);
  } catch (error) {
    if (!(error instanceof MallocBackendError)) throw error;
    throw new MallocBackendError(error.code, `${variable}: ${error.message}`, { cause: error });
  }
}

/** Node does what is between `--require` and `--import`, and a second start of it cannot do again, just once. */
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

/** In clock ticks since boot; with the process id it names a process for good (proc_pid_stat(5)). */
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
