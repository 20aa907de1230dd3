import { parseBackend } from '../backend.js';
import { become } from '../process/become.js';
import { type SwitchOptions, switchedEnvironment, variables } from '../process/environment.js';
import { prepareLaunch } from '../process/program.js';

/** `malloc-backend run <backend> -- <command …>`: checks, and becomes the command. */
export function run(name: unknown, command: unknown, options: unknown): never {
  const backend = parseBackend(name);
  const [program = '', ...args] = command as string[];
  const env = switchedEnvironment(backend, options as SwitchOptions, { probe: true });
  // Should the library find in the program that another malloc came first, the program does not begin.
  env[variables.require] = '1';
  become(prepareLaunch(backend, program, args, { env: process.env }), env);
}
