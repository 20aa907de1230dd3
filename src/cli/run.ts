import { parseBackend } from '../backend.js';
import { MallocBackendError } from '../errors.js';
import { become } from '../process/become.js';
import { switchedEnvironment, variables } from '../process/environment.js';
import { prepareLaunch } from '../process/program.js';
import { switching, switchingHelp, switchingOptions } from './switching.js';

export const help = `Become the command, on the backend: same process id, signals and open files; no process stays between.

Usage: malloc-backend run <backend> [options] [--] <command …>

Backend: default (the C library's, and proven so), jemalloc, mimalloc or snmalloc

Options:
${switchingHelp}

Exit status: the command's own; 2 wrong usage, 126 the command cannot be switched, 127 it was not found.

Examples:
  malloc-backend run mimalloc -- node server.js
  malloc-backend run jemalloc --preset low-rss --set narenas=1 -- python3 app.py
  malloc-backend run snmalloc --children none -- ./server --port 80`;

/**
 * The command starts behind `--`, or at the second word that is no option; all from there on is its own. Taken apart by
 * hand: util.parseArgs knows no such place, and `run` is to start fast.
 */
function parse(args: readonly string[]) {
  const values: { preset?: string; set: string[]; children?: string } = { set: [] };
  let backend: string | undefined;
  for (let at = 0; at < args.length; at++) {
    const word = args[at]!;
    if (word === '--') return { values, backend, command: args.slice(at + 1) };
    const [, name, inline] = /^--([a-z]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (name !== undefined && Object.hasOwn(switchingOptions, name)) {
      const value = inline ?? args[++at];
      if (value === undefined) throw misused(`--${name} wants a value`);
      if (name === 'set') values.set.push(value);
      else values[name as 'preset' | 'children'] = value;
    } else if (word.startsWith('-')) {
      throw misused(`there is no option ${JSON.stringify(word)}; the command's own come after it`);
    } else if (backend !== undefined) {
      return { values, backend, command: args.slice(at) };
    } else {
      backend = word;
    }
  }
  return { values, backend, command: [] };
}

function misused(problem: string): MallocBackendError {
  return new MallocBackendError('ERR_INVALID_ARGUMENT', `${problem}\n\n${help}`);
}

/** `malloc-backend run`: checks, and becomes the command. */
export function main(args: string[]): never {
  const { values, backend: name, command } = parse(args);
  if (name === undefined) throw misused('no backend was given');
  const backend = parseBackend(name);
  const [program, ...rest] = command;
  if (program === undefined) throw misused('no command was given');
  const env = switchedEnvironment(backend, switching(values), { probe: true });
  // Should the library find in the program that another malloc came first, the program does not begin.
  env[variables.require] = '1';
  become(prepareLaunch(backend, program, rest), env);
}
