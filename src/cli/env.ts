import { parseBackend } from '../backend.js';
import { type SwitchOptions, environment, withoutSwitch } from '../process/environment.js';

type Format = 'shell' | 'docker' | 'systemd' | 'json';

/** In single quotes, within which a POSIX shell takes everything as it stands. */
const shellQuoted = (value: string) => `'${value.replaceAll("'", `'\\''`)}'`;

/** A Dockerfile's ENV expands $ in double quotes, a unit file's Environment= its % specifiers. */
const doubleQuoted = (value: string) => `"${value.replace(/[\\"]/g, '\\$&')}"`;

const formats: Record<Format, (name: string, value: string) => string> = {
  shell: (name, value) => `export ${name}=${shellQuoted(value)}`,
  docker: (name, value) => `ENV ${name}=${doubleQuoted(value).replaceAll('$', '\\$')}`,
  systemd: (name, value) => `Environment=${doubleQuoted(`${name}=${value}`).replaceAll('%', '%%')}`,
  json: () => '',
};

/** `malloc-backend env <backend>`: prints the variables, and only those that differ from now. */
export function env(name: unknown, options: unknown): void {
  const { format, ...switching } = options as SwitchOptions & { format: Format };
  const now = withoutSwitch(process.env);
  const then = environment(parseBackend(name), { ...switching, env: now });
  const changed = Object.entries(then).filter(([variable, value]) => now[variable] !== value) as [
    string,
    string,
  ][];
  if (format === 'json') console.log(JSON.stringify(Object.fromEntries(changed), null, 2));
  else for (const [variable, value] of changed) console.log(formats[format](variable, value));
}
