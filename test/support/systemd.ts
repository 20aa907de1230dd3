// A systemd of the tests' own, which starts units for real: the manager of a user, on a machine that has not booted with
// systemd too.

import { type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import * as tools from '../fixtures-ts/tools.js';
import { type Outcome, run, start } from './run.js';

const MANAGER = ['/usr/lib/systemd/systemd', '/lib/systemd/systemd'].find((file) => existsSync(file));

/** The manager looks for this folder, and starts nothing where it is missing: a mount that only it sees has it. */
const AS_IF_BOOTED = `[ -d /run/systemd/system ] || { mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system; } || exit
exec "$0" --user --log-target=console`;

export interface Systemd {
  /** Writes a unit, which `systemctl` then knows. */
  unit(name: string, text: string): string;
  systemctl(...args: string[]): Promise<Outcome>;
  /** The unit's main process, once systemd has started it. */
  started(name: string): Promise<number>;
  /** Ends the units and the manager. */
  stop(): Promise<void>;
}

/** Starts the manager; or says why it cannot be had. */
export async function systemd(): Promise<Systemd | string> {
  if (MANAGER === undefined) return 'systemd is not installed';
  const [runtime, config] = [tools.scratch('systemd-runtime'), tools.scratch('systemd-config')];
  mkdirSync(runtime, { mode: 0o700 });
  mkdirSync(`${config}/systemd/user`, { recursive: true });
  const env = { XDG_RUNTIME_DIR: runtime, XDG_CONFIG_HOME: config, DBUS_SESSION_BUS_ADDRESS: '' };
  const mount = existsSync('/run/systemd/system') ? [] : ['unshare', '--mount'];
  const [program = '', ...args] = [...mount, 'sh', '-c', AS_IF_BOOTED, MANAGER];
  const child = start(program, args, { env });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (said += String(chunk)));
  const ready = await tools.until('the manager, or its end', () =>
    hasEnded(child) ? 'ended' : existsSync(`${runtime}/systemd/private`) && 'ready',
  );
  if (ready === 'ended') return `systemd --user does not run here: ${said.trim().split('\n').at(-1)}`;
  const systemctl = (...words: string[]) => run('systemctl', ['--user', ...words], { env });
  return {
    unit: (name, text) => tools.file(`systemd-config/systemd/user/${name}`, text, 0o644),
    systemctl,
    async started(name) {
      const { code, stderr } = await systemctl('start', name);
      if (code !== 0) throw new Error(`${name} does not start: ${stderr}${said}`);
      const { stdout } = await systemctl('show', name, '--property=MainPID', '--value');
      return Number(stdout);
    },
    async stop() {
      child.kill('SIGTERM');
      if (!hasEnded(child)) await once(child, 'exit');
    },
  };
}

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;
