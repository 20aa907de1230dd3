// What the recipes of docs/deploy.md start, and what it runs on.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as tools from '../fixtures-ts/tools.js';
import { environment } from './environment.js';
import { kill, start } from './run.js';
import { root } from './shims.js';
import { afterAll } from './suite.js';

/** For a program of Node: the backend whose library it has loaded. */
export const LIBRARY = `(require('fs').readFileSync('/proc/self/maps', 'utf8').match(/libmalloc_backend_([a-z]+)/)?.[1] ?? 'none')`;

/** Why a program's tests are skipped; false where it is installed. */
export const missing = (program: string) =>
  tools.which(program) === undefined && `${program} is not installed`;

/** The folder that the page copies to /opt/malloc-backend. */
export const OPT = '/opt/malloc-backend';

/** Text of the page with the paths of this machine for the page's. Each must be there. */
export function placed(text: string, paths: Readonly<Record<string, string>>): string {
  return Object.entries(paths).reduce((done, [from, to]) => {
    assert.ok(done.includes(from), `${from} is not in\n${text}`);
    return done.replaceAll(from, to);
  }, text);
}

/** The arguments of sh for a command of the page, which takes the place of the shell. */
export const shell = (command: string): string[] => ['-c', `exec ${command}`];

/** An environment in which `malloc-backend` and `node` of a command are those under test. */
export function withPath(folder: string, ...more: string[]): { PATH: string } {
  return { PATH: [folder, dirname(process.execPath), ...more, process.env['PATH'] ?? ''].join(':') };
}

/** A folder of the scratch folder, in which the package is installed as this checkout. */
export function project(name: string): string {
  const folder = tools.scratch(name);
  mkdirSync(join(folder, 'node_modules'), { recursive: true });
  symlinkSync(root, join(folder, 'node_modules', 'malloc-backend'));
  return folder;
}

/** Starts programs for a suite, and gives their process ids. Those that still run are ended with the suite. */
export function starter(): (...what: Parameters<typeof start>) => number {
  const children: ReturnType<typeof start>[] = [];
  afterAll(() => children.forEach(kill));
  return (...what) => {
    const child = start(...what);
    child.stdout?.resume();
    child.stderr?.resume();
    children.push(child);
    return child.pid ?? assert.fail('it did not start');
  };
}

interface Malloc {
  backend?: string;
}

interface Tree {
  malloc: Malloc;
  process: { preset?: string; children: { pid: number; program?: string; malloc?: Malloc }[] };
}

/** A process and what it started, as doctor sees them. Undefined for one that has ended. */
export function tree(pid: number): Tree | undefined {
  const { status, stdout } = spawnSync(tools.native, ['doctor', '--pid', `${pid}`, '--json'], {
    encoding: 'utf8',
    env: environment(),
  });
  return status === 0 ? (JSON.parse(stdout) as Tree) : undefined;
}

/**
 * Waits until the process has so many children of that program, and it and all of them are on the backend: a program that
 * begins has not loaded its libraries yet.
 *
 * @param program - The end of its path.
 */
export async function allOn(backend: string, pid: number, children: number, program: string): Promise<void> {
  await tools.until(`${children} children of ${pid} on ${backend}`, () => {
    const seen = tree(pid);
    const own = seen?.process.children.filter((child) => child.program?.endsWith(program)) ?? [];
    const isOn = (malloc: Malloc | undefined) => malloc?.backend === backend;
    return isOn(seen?.malloc) && own.length >= children && own.every(({ malloc }) => isOn(malloc));
  });
}

const cache = join(root, 'target', 'deploy');

/** Packages of npm, installed once, with those options of npm; or why they cannot be. */
export function npmInstalled(
  name: string,
  packages: readonly string[],
  options: readonly string[] = [],
): { folder: string; why: string | false } {
  return installed(name, packages, (folder) => {
    writeFileSync(join(folder, 'package.json'), '{ "private": true }');
    const words = ['install', '--no-audit', '--no-fund', '--no-save', '--loglevel=error', ...options];
    execFileSync('npm', [...words, ...packages], { cwd: folder, stdio: 'pipe', env: environment() });
  });
}

/** Packages of PyPI, in a virtual environment; or why they cannot be. */
export function pipInstalled(
  name: string,
  packages: readonly string[],
): { folder: string; why: string | false } {
  return installed(name, packages, (folder) => {
    execFileSync('python3', ['-m', 'venv', folder], { stdio: 'pipe', env: environment() });
    const words = ['install', '--quiet', '--disable-pip-version-check', ...packages];
    execFileSync(join(folder, 'bin', 'pip'), words, { stdio: 'pipe', env: environment() });
  });
}

function installed(name: string, packages: readonly string[], install: (folder: string) => void) {
  const folder = join(cache, name);
  const mark = join(folder, packages.map((each) => each.replaceAll('/', '+')).join(',') + '.installed');
  if (existsSync(mark)) return { folder, why: false as const };
  mkdirSync(folder, { recursive: true });
  try {
    install(folder);
    writeFileSync(mark, '');
    return { folder, why: false as const };
  } catch (error) {
    const { stderr = '' } = error as { stderr?: Buffer };
    return {
      folder,
      why: `${packages.join(', ')} cannot be installed: ${String(stderr).trim().split('\n')[0]}`,
    };
  }
}
