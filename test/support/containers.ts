// Podman, for the recipes with images: with a store of its own, and a base image that no registry has to give.

import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as tools from '../fixtures-ts/tools.js';
import { type Outcome, kill, run, start, succeed } from './run.js';

/** Why no container can be started here; false where one can. */
export const noContainers: string | false =
  process.getuid?.() !== 0
    ? 'only root can start containers as these tests do'
    : (['podman', 'npm', 'nsenter', 'unshare']
        .filter((program) => tools.which(program) === undefined)
        .map((program) => `${program} is not installed`)[0] ?? tools.unshares('--mount'));

/** crun refuses to start beside the second of two mounts for control groups. */
const ONE_KIND_OF_CGROUPS = `umount /sys/fs/cgroup/unified 2>/dev/null; echo ready; exec sleep infinity`;

export interface Podman {
  /** `podman …`, which must end with 0. */
  (...words: string[]): Promise<Outcome>;
  /** `podman …`, however it ends. */
  attempt(...words: string[]): Promise<Outcome>;
  /** Ends and removes every container. */
  stop(): Promise<void>;
}

/**
 * All its commands share a mount namespace. The containers have no network; a build may have this machine's, whose loopback
 * has the registry of the tests.
 *
 * @param registry - Where npm in an image finds packages.
 * @param images - The names that the base image gets.
 */
export async function podman(registry: string, images: readonly string[]): Promise<Podman> {
  const conf = tools.file('containers.conf', CONFIGURATION, 0o644);
  const namespace = start('unshare', ['--mount', 'sh', '-c', ONE_KIND_OF_CGROUPS]);
  if (namespace.stdout !== null) await once(namespace.stdout, 'data');
  const [root, state] = [tools.scratch('podman'), tools.scratch('podman-state')];
  const options = { env: { CONTAINERS_CONF: conf }, cwd: tools.scratch('.') };
  const inside = [`--target=${namespace.pid}`, '--mount', `--wdns=${options.cwd}`];
  const words = (more: string[]) => [...inside, 'podman', '--root', root, '--runroot', state, ...more];
  const attempt = (...more: string[]) => run('nsenter', words(more), options);
  const podman = (...more: string[]) => succeed('nsenter', words(more), options);
  const base = tools.scratch('base.tar');
  execFileSync('tar', ['-C', baseImage(registry), '-cf', base, '.']);
  const [first = '', ...others] = images;
  await podman('import', '--quiet', '--change', 'ENV PATH=/usr/bin:/bin', base, first);
  if (others.length > 0) await podman('tag', first, ...others);
  return Object.assign(podman, { attempt, stop: () => stop(attempt, namespace) });
}

async function stop(attempt: Podman['attempt'], namespace: ChildProcess): Promise<void> {
  await attempt('rm', '--all', '--force', '--time', '0');
  kill(namespace);
}

/** Limits that this process may set: it may not raise its own. */
const CONFIGURATION = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "none"
http_proxy = false
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
`;

/** A root file system of this machine's programs: Node, npm, a shell and cp. */
function baseImage(registry: string): string {
  const root = tools.scratch('base');
  for (const folder of ['bin', 'usr/bin', 'usr/lib/node_modules', 'etc', 'opt', 'root', 'tmp', 'var/tmp'])
    mkdirSync(join(root, folder), { recursive: true });
  const programs = [
    ['usr/bin/node', process.execPath],
    ...['sh', 'cp', 'env', 'sleep', 'id'].map((name) => [`bin/${name}`, `/bin/${name}`]),
  ] as const;
  for (const [to = '', from = ''] of programs) {
    cpSync(realpathSync(from), join(root, to));
    const libraries = execFileSync('ldd', [from], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
    for (const library of libraries.filter((file) => existsSync(file)))
      cpSync(library, join(root, library), { dereference: true });
  }
  symlinkSync('/bin/env', join(root, 'usr/bin/env'));
  const npm = dirname(dirname(tools.which('npm') ?? ''));
  cpSync(npm, join(root, 'usr/lib/node_modules/npm'), { recursive: true });
  for (const name of ['npm', 'npx'])
    symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(root, `usr/bin/${name}`));
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/sh\n',
  );
  writeFileSync(
    join(root, 'root/.npmrc'),
    `registry=${registry}\naudit=false\nfund=false\nupdate-notifier=false\n`,
  );
  return root;
}
