import { execFileSync, spawnSync } from 'node:child_process';
import { environment } from '../index.js';

export const backends = ['default', 'jemalloc', 'mimalloc', 'snmalloc'] as const;
export type Backend = (typeof backends)[number];

/** `none` is a backend as its authors ship it. */
export const presets = ['none', 'throughput', 'balanced', 'low-rss'] as const;
export type Preset = (typeof presets)[number];

/** Every backend with every preset that it has; or with one preset, and beside that glibc as it is. */
export function variants(only?: string): { backend: Backend; preset: Preset; name: string }[] {
  const all = backends.flatMap((backend) =>
    presets
      .filter((preset) => preset === 'none' || backend !== 'snmalloc')
      .map((preset) => ({ backend, preset, name: `${backend} ${preset}` })),
  );
  return all.filter(({ preset, name }) => only === undefined || preset === only || name === 'default none');
}

/** This process's environment without what would switch or tune an allocator: a user's own settings win over a preset. */
export function neutral(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env);
  return Object.fromEntries(
    own.filter(
      ([name]) => !/^(LD_PRELOAD|GLIBC_TUNABLES|MALLOC_.*|MIMALLOC_.*|UV_THREADPOOL_SIZE)$/.test(name),
    ),
  );
}

/** The environment that runs a program on a backend. */
export function environmentOf(backend: Backend, preset: Preset = 'none'): NodeJS.ProcessEnv {
  return environment(backend, { preset, env: neutral() });
}

/** A distribution's own build of a backend, preloaded as its users do; undefined where it is not installed. */
export function distribution(library: string): NodeJS.ProcessEnv | undefined {
  const env = { ...neutral(), LD_PRELOAD: library };
  // The loader says on stderr that it found no such library, and goes on without.
  const { stderr } = spawnSync('true', { env, encoding: 'utf8' });
  return stderr === '' ? env : undefined;
}

/** The version of a Debian package, for the table's head. */
export function packageVersion(name: string): string {
  try {
    return execFileSync('dpkg-query', ['-W', '-f', '${Version}', name], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return 'of unknown version';
  }
}
