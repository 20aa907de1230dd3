/**
 * Metrics for prom-client, which the service brings itself.
 *
 * | metric | type | labels besides `backend` |
 * | --- | --- | --- |
 * | `malloc_backend_info` | gauge, always 1 | `allocator`, `version`, `owner` |
 * | `malloc_backend_rss_bytes` | gauge | |
 * | `malloc_backend_memory_bytes` | gauge; its sum is RSS | `part` |
 * | `malloc_backend_allocated_bytes`, `_active_`, `_metadata_`, `_resident_`, `_mapped_`, `_retained_bytes` | gauges, as far as the allocator tells | |
 * | `malloc_backend_releases_total`, `malloc_backend_released_bytes_total`, `malloc_backend_release_seconds_total` | counters | |
 *
 * @packageDocumentation
 */

import '../bundled.js';
import { Counter, Gauge, type Registry, register as standard } from 'prom-client';
import { linuxBinding } from '../native/loader.js';
import { MallocBackendError, shown } from '../errors.js';
import type { MemoryBreakdown } from '../memory/memory.js';
import { ownMalloc } from '../memory/own.js';
import { namesOf, requireOptions } from '../options.js';
import { backendLabel, labelledParts, read, statistics, totals } from './figures.js';

/** How the metrics are to be named. */
export interface MallocMetricsOptions {
  /** Before each name. Default: nothing. */
  prefix?: string;
}

const OPTIONS = namesOf<MallocMetricsOptions>({ prefix: true });

/**
 * Has the register collect where this process's memory is, and what its allocator tells. Everything is read when it is
 * scraped, once for all metrics, on a thread of libuv's pool: see `memory` for what that takes. A scrape fails
 * where that does.
 *
 * @param register - Default: prom-client's own.
 * @throws `MallocBackendError` `ERR_INVALID_ARGUMENT`, also for a register that has the metrics already; and as
 * `activeBackend`
 */
export function collectMallocMetrics(
  register: Registry = standard as Registry,
  options: MallocMetricsOptions = {},
): void {
  requireOptions(options, OPTIONS);
  const { prefix = '' } = options;
  if (typeof register?.registerMetric !== 'function') {
    throw wrong(`the register must be a Registry of prom-client, not ${shown(register)}`);
  }
  if (typeof prefix !== 'string' || !/^([a-zA-Z_:][a-zA-Z0-9_:]*)?$/.test(prefix)) {
    throw wrong(`the prefix must be of letters, digits, _ and :, not ${shown(prefix)}`);
  }
  linuxBinding('the breakdown of memory');
  ownMalloc();
  const start = `${prefix}malloc_backend_`;
  if (register.getSingleMetric(`${start}info`) !== undefined) {
    throw wrong(
      `the register has ${start}info already; call it once for each register, or give another prefix`,
    );
  }
  const gauge = (name: string, help: string, labels: string[], collect: Collect) =>
    register.registerMetric(
      new Gauge({
        name: start + name,
        help,
        labelNames: ['backend', ...labels],
        registers: [],
        async collect() {
          const breakdown = await read();
          const backend = backendLabel(breakdown);
          collect(breakdown, (bytes, more = {}) => this.set({ backend, ...more }, bytes));
        },
      }),
    );

  gauge('info', 'The allocator that serves malloc', ['allocator', 'version', 'owner'], ({ malloc }, set) => {
    const { allocator, version = '', owner } = malloc;
    set(1, { allocator, version, owner });
  });
  gauge('rss_bytes', 'Bytes in physical memory', [], ({ rss }, set) => set(rss));
  gauge('memory_bytes', 'Bytes in physical memory, by what they are of', ['part'], ({ parts }, set) => {
    for (const [part, bytes] of labelledParts(parts)) set(bytes, { part });
  });
  for (const { key, name, help } of statistics) {
    gauge(`${name}_bytes`, help, [], ({ allocator }, set) => {
      const bytes = allocator?.[key];
      if (bytes !== undefined) set(bytes);
    });
  }
  for (const { name, unit, help, value } of totals) {
    const total = new Counter({
      name: `${start}${name}${unit === '' ? '' : `_${unit}`}_total`,
      help,
      labelNames: ['backend'],
      registers: [],
      async collect() {
        const backend = backendLabel(await read());
        this.reset();
        this.inc({ backend }, value());
      },
    });
    register.registerMetric(total);
  }
}

type Collect = (
  breakdown: MemoryBreakdown,
  set: (value: number, labels?: Record<string, string>) => void,
) => void;

function wrong(problem: string): MallocBackendError {
  return new MallocBackendError('ERR_INVALID_ARGUMENT', `collectMallocMetrics: ${problem}`);
}
