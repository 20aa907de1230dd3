import { parseArgs } from 'node:util';
import { parseBackend } from '../backend.js';
import { MallocBackendError } from '../errors.js';
import { become, sayNow } from '../process/become.js';
import { type SwitchOptions, definedVariables } from '../process/environment.js';
import type { BackendOptions, Preset } from '../process/presets.js';
import { isSupported, leaveOut } from '../process/supported.js';
import { type PythonOptionNames, parsePythonConfig } from '../python/config.js';
import { hookVariables, hookedEnvironment, preparePython } from '../python/environment.js';
import { become as startElsewhere } from './elsewhere.js';
import { split } from './words.js';

export const help = `Become Python, with its allocator domains on the backend: same process id, signals and open files.

Usage: malloc-backend python <backend> [options] [--] <what python takes …>

Backend: jemalloc, mimalloc, snmalloc or rust; default leaves the domains to Python

Options:
  --no-raw             leave the raw domain to Python (it is the backend's by default)
  --mem                the mem domain too
  --obj                the obj domain too
  --arena              the arenas of pymalloc (not with --mem or --obj)
  --debug              Python's debug hooks on top
  --python <path>      the interpreter (default: python3)
  --malloc <backend>   the whole process's malloc too
  --preset <name>      as for run, for --malloc or else for the backend; without --malloc none is the default
  --set <key=value>    one option of that allocator; may be given again
  --children <which>   whether programs that Python starts have all that too: none (the default) or inherit
  --unset              take PYTHONMALLOC and PYTHONDEVMODE out of the environment rather than refuse them
  --if-supported       where there is no switch, on macOS and Windows, become Python without one and say so
  --report             print whose the domains are, as a line of JSON on standard error

Exit status: Python's own; 2 wrong usage, 126 the domains cannot be set, 127 Python was not found.

Examples:
  malloc-backend python jemalloc -- script.py --its own arguments
  malloc-backend python mimalloc --mem --obj -- -m http.server
  malloc-backend python snmalloc --arena --report -- -c 'print(1)'`;

const options = {
  'no-raw': { type: 'boolean', default: false },
  mem: { type: 'boolean', default: false },
  obj: { type: 'boolean', default: false },
  arena: { type: 'boolean', default: false },
  debug: { type: 'boolean', default: false },
  python: { type: 'string', default: 'python3' },
  malloc: { type: 'string' },
  preset: { type: 'string' },
  set: { type: 'string', multiple: true },
  children: { type: 'string' },
  unset: { type: 'boolean', default: false },
  report: { type: 'boolean', default: false },
  'if-supported': { type: 'boolean', default: false },
} as const;

/** What messages are to call them. */
const names: PythonOptionNames = {
  mem: '--mem',
  obj: '--obj',
  arena: '--arena',
  debug: '--debug',
  unset: '--unset',
};

/** `malloc-backend python`: checks, and becomes Python. */
export function main(args: string[]): void | Promise<void> {
  const [own, python] = split(args, options);
  const { values, positionals } = parseArgs({ args: own, options, allowPositionals: true });
  const [name] = positionals;
  if (name === undefined) {
    throw new MallocBackendError('ERR_INVALID_ARGUMENT', `no backend was given\n\n${help}`);
  }
  const allocatorBackend = parseBackend(name);
  if (!isSupported()) {
    leaveOut({ by: '--if-supported', given: values['if-supported'] }, 'Python runs without a switch');
    return startElsewhere([values.python, ...python]);
  }
  const chosen = {
    allocatorBackend,
    allocatorRaw: !values['no-raw'],
    allocatorMem: values.mem,
    allocatorObj: values.obj,
    allocatorPymallocArena: values.arena,
    allocatorDebug: values.debug,
    unsetPythonMalloc: values.unset,
  };
  const config = parsePythonConfig(chosen, names);
  const { children = 'none', ...others } = switching(values);
  const malloc = values.malloc === undefined ? undefined : parseBackend(values.malloc);
  const switched = {
    ...others,
    children,
    env: process.env,
    ...(malloc === undefined ? {} : { malloc }),
  };
  const env = hookedEnvironment(config, python, switched, { tell: sayNow });
  if (values.report) env[hookVariables.report] = '2';
  become(preparePython(values.python, python, { malloc }), definedVariables(env));
}

/** The values of these options as {@link SwitchOptions}. What is wrong with a value is said where it is used. */
function switching(values: { preset?: string; set?: string[]; children?: string }): SwitchOptions {
  return {
    ...(values.preset === undefined ? {} : { preset: values.preset as Preset }),
    ...(values.children === undefined ? {} : { children: values.children as 'inherit' | 'none' }),
    set: Object.fromEntries((values.set ?? []).map(pair)) satisfies BackendOptions,
  };
}

function pair(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new MallocBackendError('ERR_INVALID_ARGUMENT', `--set wants key=value, not ${JSON.stringify(text)}`);
}
