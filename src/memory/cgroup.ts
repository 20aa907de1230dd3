import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MallocBackendError, shown } from '../errors.js';

/** A cgroup's memory usage and limit, in bytes. */
export interface Usage {
  /** The usage without the page cache that was not used recently, because the kernel can drop this cache at once. */
  used: number;
  limit: number;
}

/** The files in a cgroup's folder, for both versions of cgroups (cgroup-v2.rst and cgroup-v1/memory.rst of the kernel). */
const versions = [
  {
    used: 'memory.current',
    limits: ['memory.max', 'memory.high'],
    inactive: /^inactive_file (\d+)$/m,
  },
  {
    used: 'memory.usage_in_bytes',
    limits: ['memory.limit_in_bytes'],
    inactive: /^total_inactive_file (\d+)$/m,
  },
] as const;

/** Without a limit, version 1 has the greatest multiple of a page, and version 2 the word `max`. */
const NO_LIMIT = 2 ** 62;

/**
 * The folders of the cgroups that count this process's memory: first the process's own cgroup, then each cgroup around it.
 * Each of them may have a limit. Empty if there are none.
 */
export function memoryCgroups(root = '/sys/fs/cgroup', membership = '/proc/self/cgroup'): string[] {
  let lines: string[];
  try {
    lines = readFileSync(membership, 'utf8').split('\n');
  } catch {
    return [];
  }
  const path = (controller: string) =>
    lines.map((line) => line.split(':')).find(([, names = '']) => names.split(',').includes(controller));
  // The memory controller is in version 1 or in version 2, not in both.
  const candidates: [top: string, path: string | undefined][] = [
    [join(root, 'memory'), path('memory')?.slice(2).join(':')],
    [root, path('')?.slice(2).join(':')],
  ];
  for (const [top, own] of candidates) {
    if (own === undefined) continue;
    const folders = [];
    for (let folder = join(top, own); ; folder = dirname(folder)) {
      // In a container, the path may be the host's, and the top folder is then the container's own cgroup.
      if (hasMemory(folder)) folders.push(folder);
      if (folder.length <= top.length) break;
    }
    if (folders.length > 0) return folders;
  }
  return [];
}

function hasMemory(folder: string): boolean {
  return versions.some(({ used }) => existsSync(join(folder, used)));
}

/**
 * The usage of the cgroup that is nearest to its limit. Undefined if no cgroup has a limit. An unreadable cgroup does not
 * hide the others: `errors` has an `ERR_CGROUP_UNREADABLE` for each unreadable folder.
 */
export async function nearest(
  folders: readonly string[],
): Promise<{ usage: Usage | undefined; errors: MallocBackendError[] }> {
  const errors: MallocBackendError[] = [];
  const usages = await Promise.all(
    folders.map((folder) => usage(folder).catch((error: MallocBackendError) => void errors.push(error))),
  );
  const [first] = usages
    .filter((each) => each !== undefined)
    .sort((one, other) => other.used / other.limit - one.used / one.limit);
  return { usage: first, errors };
}

async function usage(folder: string): Promise<Usage | undefined> {
  const version = versions.find(({ used }) => existsSync(join(folder, used)));
  if (version === undefined) {
    const names = versions.map(({ used }) => used).join(' nor ');
    throw unreadable(folder, `it contains neither ${names}`);
  }
  const read = (file: string) => readFile(join(folder, file), 'utf8');
  // Not every kernel has all these files.
  const readIfThere = (file: string) => read(file).catch(absent);
  try {
    const limits = await Promise.all(
      version.limits.map(async (file) => bytes(file, (await readIfThere(file)) ?? 'max')),
    );
    const limit = Math.min(...limits);
    if (!(limit < NO_LIMIT)) return undefined;
    const [all, statistics] = await Promise.all([read(version.used), readIfThere('memory.stat')]);
    const inactive = Number(version.inactive.exec(statistics ?? '')?.[1] ?? 0);
    return { used: Math.max(0, bytes(version.used, all) - inactive), limit };
  } catch (error) {
    throw unreadable(folder, (error as Error).message);
  }
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

function bytes(file: string, text: string): number {
  const value = text.trim();
  if (value === 'max') return Infinity;
  if (/^\d+$/.test(value)) return Number(value);
  throw new Error(`${file} contains ${shown(value)} instead of a number`);
}

function unreadable(folder: string, why: string): MallocBackendError {
  return new MallocBackendError(
    'ERR_CGROUP_UNREADABLE',
    `cannot read the memory usage of the cgroup ${folder}: ${why}; name the folder of a cgroup with the memory controller`,
  );
}
