import { parseArgs } from 'node:util';
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
 * Where the command starts: behind `--`, or at the second word that is no option. What comes after is the command's
 * own, options included.
 */
function split(args: string[]): { own: string[]; command: string[] } {
  const { tokens } = parseArgs({
    args,
    options: switchingOptions,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const terminator = tokens.find(({ kind }) => kind === 'option-terminator')?.index ?? args.length;
  const second = tokens.filter(({ kind }) => kind === 'positional')[1]?.index ?? args.length;
  const at = Math.min(terminator, second);
  return { own: args.slice(0, at), command: args.slice(at === terminator ? at + 1 : at) };
}

/** `malloc-backend run`: checks, and becomes the command. */
export function main(args: string[]): never {
  const { own, command } = split(args);
  const { values, positionals } = parseArgs({ args: own, options: switchingOptions, allowPositionals: true });
  const [name, unexpected] = positionals;
  const [program, ...rest] = command;
  if (name === undefined || unexpected !== undefined || program === undefined) {
    const missing = name === undefined ? 'no backend was given' : 'no command was given';
    throw new MallocBackendError('ERR_INVALID_ARGUMENT', `${missing}\n\n${help}`);
  }
  const backend = parseBackend(name);
  const env = switchedEnvironment(backend, switching(values), { probe: true });
  // Should the library find in the program that another malloc came first, the program does not begin.
  env[variables.require] = '1';
  become(prepareLaunch(backend, program, rest), env);
}
