// What the recipes of docs/deploy.md start, and what it runs on.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tools from '../fixtures-ts/tools.js';
import { environment } from './environment.js';
import { kill, start } from './run.js';
import { root } from './shims.js';
import { afterAll } from './suite.js';

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

/** Packages of npm, installed once; or why they cannot be. */
export function npmInstalled(
  name: string,
  packages: readonly string[],
): { folder: string; why: string | false } {
  return installed(name, packages, (folder) => {
    writeFileSync(join(folder, 'package.json'), '{ "private": true }');
    const words = ['install', '--no-audit', '--no-fund', '--no-save', '--loglevel=error', ...packages];
    execFileSync('npm', words, { cwd: folder, stdio: 'pipe', env: environment() });
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
