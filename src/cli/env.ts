import { parseArgs } from 'node:util';
import { parseBackend } from '../backend.js';
import { MallocBackendError } from '../errors.js';
import { environment, withoutSwitch } from '../process/environment.js';
import { switching, switchingHelp, switchingOptions } from './switching.js';

export const help = `Print what to set where no wrapper is wanted. It costs the program nothing, and proves nothing: see doctor --pid.

Usage: malloc-backend env <backend> [options]

Backend: default (the C library's), jemalloc, mimalloc or snmalloc

Options:
  --format <format>    shell (the default), docker, systemd or json
${switchingHelp}

Examples:
  set="$(malloc-backend env jemalloc)" && eval "$set" && exec node server.js
  malloc-backend env mimalloc --format docker     # lines of a Dockerfile
  malloc-backend env jemalloc --format systemd    # lines of a [Service] section`;

/** In single quotes, within which a POSIX shell takes everything as it stands. */
const shellQuoted = (value: string) => `'${value.replaceAll("'", `'\\''`)}'`;

const doubleQuoted = (value: string) => `"${value.replace(/[\\"]/g, '\\$&')}"`;

/** A Dockerfile's ENV expands $, a unit file's Environment= its % specifiers. */
const formats: Record<string, (name: string, value: string) => string> = {
  shell: (name, value) => `export ${name}=${shellQuoted(value)}`,
  docker: (name, value) => `ENV ${name}=${doubleQuoted(value).replaceAll('$', '\\$')}`,
  systemd: (name, value) => `Environment=${doubleQuoted(`${name}=${value}`).replaceAll('%', '%%')}`,
};

const options = { ...switchingOptions, format: { type: 'string', default: 'shell' } } as const;

/** `malloc-backend env`: prints the variables that differ from those of now without a switch, and ends that one. */
export function main(args: string[]): void {
  try {
    print(args);
  } catch (error) {
    // `eval "$(…)" && …` does not see this command's status; it sees that of what is printed.
    const { format } = parseArgs({ args, options, strict: false }).values;
    if (!['docker', 'systemd', 'json'].includes(String(format))) console.log('false');
    throw error;
  }
}

function print(args: string[]): void {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  const [name, unexpected] = positionals;
  if (name === undefined || unexpected !== undefined) {
    const problem = name === undefined ? 'no backend was given' : `there is nothing to do with ${unexpected}`;
    throw new MallocBackendError('ERR_INVALID_ARGUMENT', `${problem}\n\n${help}`);
  }
  const { format } = values;
  const line = Object.hasOwn(formats, format) ? formats[format] : undefined;
  if (line === undefined && format !== 'json') {
    const known = [...Object.keys(formats), 'json'].join(', ');
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      `unknown format ${JSON.stringify(format)}; it must be one of: ${known}`,
    );
  }
  // A shell may be switched already; the other formats are for an environment that begins elsewhere, of which what this
  // shell has set is no part.
  const now = format === 'shell' ? withoutSwitch(process.env) : {};
  const then = environment(parseBackend(name), { ...switching(values), env: now });
  const before = format === 'shell' ? [now, process.env] : [now];
  const changed = Object.entries(then).filter(([variable, value]) =>
    before.some((env) => env[variable] !== value),
  ) as [string, string][];
  if (line === undefined) console.log(JSON.stringify(Object.fromEntries(changed), null, 2));
  else for (const [variable, value] of changed) console.log(line(variable, value));
  if (format !== 'shell') return;
  const gone = Object.keys(process.env).filter((variable) => then[variable] === undefined);
  for (const variable of gone) console.log(`unset ${variable}`);
}
