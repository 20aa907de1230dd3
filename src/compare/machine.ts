// Where it is measured: without that, figures mean nothing.

import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { backends } from '../backend.js';
import type { Machine } from './results.js';

export function machine(): Machine {
  const governor = line('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor');
  const pages = /\[(\w+)\]/.exec(line('/sys/kernel/mm/transparent_hugepage/enabled') ?? '')?.[1];
  return {
    cpu: cpus()[0]?.model.trim() || 'unknown',
    cores: availableParallelism(),
    memory: totalmem(),
    kernel: release(),
    libc: backends().find(({ backend }) => backend === 'default')?.version ?? 'unknown',
    node: process.versions.node,
    ...(governor === undefined ? {} : { governor }),
    ...(pages === undefined ? {} : { transparentHugePages: pages }),
    load: loadavg()[0] ?? 0,
  };
}

/** Undefined where the system has no such file. */
function line(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}
