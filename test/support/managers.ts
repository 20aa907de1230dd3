// Package managers, each as a project would use it: pinned versions, from npm, with homes of their own.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './shims.js';

/** Words of a command line, the first of them the package manager's own. */
type Words = readonly string[];

export interface Manager {
  name: string;
  /** The package on npm that has it, and the program in there. */
  from: string;
  program: string;
  /** Where it wants a Node other than this one. */
  node?: string;
  /** What a project of its has, beside package.json. */
  files(registry: string): Readonly<Record<string, string>>;
  add(name: string): Words;
  /** From the lock file, without what is for development. */
  production: Words;
  /** As `add`, without optional dependencies; or the files that have that effect. */
  without: { add(name: string): Words } | { files: Readonly<Record<string, string>> };
  /** Starts a command of the project's. */
  exec: Words;
  /** What it has beside: a program that starts a package's command without an install. */
  npx?: string;
  /** Starts Node in the project. */
  run?: Words;
  /** Whether the command lies in node_modules/.bin. */
  bin: boolean;
}

const npmrc = (registry: string): Readonly<Record<string, string>> => ({
  '.npmrc': `registry=${registry}\naudit=false\nfund=false\nupdate-notifier=false\n`,
});

const npm = (version: string, node?: string): Manager => ({
  name: `npm ${version}`,
  from: `npm@${version}`,
  program: 'npm/bin/npm-cli.js',
  ...(node === undefined ? {} : { node }),
  files: npmrc,
  add: (name) => ['install', name],
  production: ['ci', '--omit=dev'],
  without: { add: (name) => ['install', '--omit=optional', name] },
  exec: ['exec', '--no', '--'],
  npx: 'npm/bin/npx-cli.js',
  bin: true,
});

const berry = (linker: 'node-modules' | 'pnp'): Manager => {
  const config = (registry: string) =>
    [
      `nodeLinker: ${linker}`,
      `npmRegistryServer: "${registry.replace(/\/$/, '')}"`,
      'unsafeHttpWhitelist: ["127.0.0.1"]',
      'enableTelemetry: false',
      '',
    ].join('\n');
  return {
    name: `yarn 4.18.1, ${linker}`,
    from: '@yarnpkg/cli-dist@4.18.1',
    program: '@yarnpkg/cli-dist/bin/yarn.js',
    files: (registry) => ({ '.yarnrc.yml': config(registry), 'yarn.lock': '' }),
    add: (name) => ['add', name],
    production: ['workspaces', 'focus', '--production'],
    // It has no such option: a project for another platform lacks this one's package.
    without: { files: { '.yarnrc.yml': 'supportedArchitectures:\n  os: [win32]\n  cpu: [x64]\n' } },
    exec: ['exec'],
    ...(linker === 'pnp' ? { run: ['node'] } : {}),
    bin: linker !== 'pnp',
  };
};

export const managers: readonly Manager[] = [
  npm('9.9.4'),
  npm('10.8.2'),
  npm('11.0.0'),
  npm('11.6.4'),
  npm('12.2.2', '26.10.0'),
  {
    name: 'pnpm 12.21.0',
    from: 'pnpm@12.21.0',
    program: 'pnpm/bin/pnpm.mjs',
    files: npmrc,
    add: (name) => ['add', name],
    production: ['install', '--prod', '--frozen-lockfile'],
    without: { add: (name) => ['add', '--no-optional', name] },
    exec: ['exec'],
    bin: true,
  },
  {
    name: 'yarn 1.22.22',
    from: 'yarn@1.22.22',
    program: 'yarn/bin/yarn.js',
    files: npmrc,
    add: (name) => ['add', name],
    production: ['install', '--production', '--frozen-lockfile'],
    without: { add: (name) => ['add', '--ignore-optional', name] },
    exec: ['--silent', 'run'],
    bin: true,
  },
  berry('node-modules'),
  berry('pnp'),
  {
    name: 'bun 1.4.5',
    from: `@oven/bun-${process.platform}-${process.arch}@1.4.5`,
    program: `@oven/bun-${process.platform}-${process.arch}/bin/bun`,
    files: npmrc,
    add: (name) => ['add', name],
    production: ['install', '--production', '--frozen-lockfile'],
    without: { add: (name) => ['add', '--omit=optional', name] },
    exec: ['run'],
    bin: true,
  },
];

/** Puts a package of npm's where it stays for the next time, and gives the folder of its node_modules. */
function obtain(spec: string): string {
  const prefix = join(root, 'target', 'managers', spec.replaceAll('/', '+'));
  const done = join(prefix, 'done');
  if (!existsSync(done)) {
    rmSync(prefix, { recursive: true, force: true });
    mkdirSync(prefix, { recursive: true });
    writeFileSync(join(prefix, 'package.json'), '{ "private": true }');
    const flags = [
      '--no-audit',
      '--no-fund',
      '--no-package-lock',
      '--ignore-scripts',
      '--engine-strict=false',
    ];
    execFileSync('npm', ['install', ...flags, spec], { cwd: prefix, stdio: ['ignore', 'ignore', 'pipe'] });
    writeFileSync(done, '');
  }
  return join(prefix, 'node_modules');
}

interface Started {
  /** The manager, and its npx. */
  words: string[];
  npx: string[];
  /** The folder of the Node to put first in PATH. */
  bin: string;
}

export function start(manager: Manager, scratch: string): Started {
  const { platform, arch } = process;
  const node =
    manager.node === undefined
      ? process.execPath
      : join(obtain(`node-${platform}-${arch}@${manager.node}`), `node-${platform}-${arch}`, 'bin', 'node');
  const bin = join(scratch, 'bin');
  mkdirSync(bin, { recursive: true });
  symlinkSync(node, join(bin, 'node'));
  const folder = obtain(manager.from);
  const words = (program: string) =>
    /\.[cm]?js$/.test(program) ? [node, join(folder, program)] : [join(folder, program)];
  return { words: words(manager.program), npx: manager.npx === undefined ? [] : words(manager.npx), bin };
}
