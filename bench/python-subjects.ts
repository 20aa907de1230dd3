import { execFileSync } from 'node:child_process';
import { parsePythonConfig, type PythonAllocatorConfig } from '../src/python/config.js';
import { hookedEnvironment } from '../src/python/environment.js';
import { distribution, neutral, type Preset } from './subjects.js';

export const pythonBackends = ['jemalloc', 'mimalloc', 'snmalloc', 'rust'] as const;
export type PythonBackend = (typeof pythonBackends)[number];

export const domainSets = {
  raw: {},
  'raw+mem+obj': { allocatorMem: true, allocatorObj: true },
  'raw+arena': { allocatorPymallocArena: true },
} as const satisfies Record<string, PythonAllocatorConfig>;
export type DomainSet = keyof typeof domainSets;

/** Python as it comes, without what would set its allocators; and sets and dicts are in the same order in every run. */
export function plainPython(): NodeJS.ProcessEnv {
  const entries = Object.entries(neutral()).filter(
    ([name]) => !/^(PYTHON.*|MALLOC_BACKEND_PYTHON.*)$/.test(name),
  );
  return { ...Object.fromEntries(entries), PYTHONHASHSEED: '0', PYTHONDONTWRITEBYTECODE: '1' };
}

/** Python with its domains on the backend. The hook ends a process in which they are not. */
export function pythonOn(backend: PythonBackend, set: DomainSet, preset: Preset = 'none'): NodeJS.ProcessEnv {
  const config = parsePythonConfig({ allocatorBackend: backend, ...domainSets[set] });
  return hookedEnvironment(config, [], { env: plainPython(), preset });
}

/** What a person without this package would do: pymalloc or none, over libc's malloc or a distribution's allocator. */
export function withoutUs(): Map<string, NodeJS.ProcessEnv> {
  const result = new Map<string, NodeJS.ProcessEnv>();
  for (const library of [undefined, 'libjemalloc.so.2', 'libmimalloc.so.2']) {
    const preload = library === undefined ? {} : distribution(library);
    if (preload === undefined) continue;
    const env = { ...plainPython(), ...(library === undefined ? {} : { LD_PRELOAD: library }) };
    result.set(library ?? 'plain', env);
    result.set(`${library ?? 'libc'}, PYTHONMALLOC=malloc`, { ...env, PYTHONMALLOC: 'malloc' });
  }
  return result;
}

/** `Python 3.11.2` */
export function pythonVersion(python: string): string {
  const code = 'import sys; print("Python", ".".join(map(str, sys.version_info[:3])))';
  return execFileSync(python, ['-c', code], { encoding: 'utf8' }).trim();
}
