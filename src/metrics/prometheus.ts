/**
 * Metrics for prom-client. Your service must install prom-client itself.
 *
 * | metric | type | labels besides `backend`, `preset` and `config` |
 * | --- | --- | --- |
 * | `malloc_backend_info` | gauge, always 1 | `allocator`, `version`, `kind` |
 * | `malloc_backend_rss_bytes` | gauge | |
 * | `malloc_backend_memory_bytes` | gauge; its sum is RSS | `part` |
 * | `malloc_backend_allocated_bytes`, `_active_`, `_metadata_`, `_resident_`, `_mapped_`, `_retained_bytes` | gauges; only figures that the allocator counts | |
 * | `malloc_backend_start_time_seconds` | gauge; when the process began | |
 * | `malloc_backend_cpu_seconds_total` | counter | |
 * | `malloc_backend_releases_total`, `malloc_backend_released_bytes_total`, `malloc_backend_release_seconds_total` | counters | |
 * | `malloc_backend_heap_profile_running`, `malloc_backend_heap_profile_live` | gauges | |
 * | `malloc_backend_heap_profile_samples_total`, `malloc_backend_heap_profile_dropped_total`, `malloc_backend_heap_profile_seconds_total` | counters, from 0 at each start of a profile | |
 *
 * @packageDocumentation
 */

import '../bundled.js';
import { Counter, Gauge, type Registry, register as standard } from 'prom-client';
import { linuxBinding } from '../native/loader.js';
import { invalidArgument, MallocBackendError, shown } from '../errors.js';
import type { MemoryBreakdown } from '../memory/memory.js';
import { ownMalloc } from '../memory/own.js';
import { namesOf, requireOptions } from '../options.js';
import {
  type Figure,
  SETUP_LABELS,
  figures,
  labelledParts,
  partsFigure,
  read,
  setupLabels,
} from './figures.js';

/** The register and the names of the metrics. */
export interface MallocMetricsOptions {
  /** The register that collects the metrics. Default: prom-client's own register. */
  register?: Registry;
  /** A text before the name of each metric. Default: none. */
  prefix?: string;
  /** Additional labels for each metric. Default: none. */
  labels?: Readonly<Record<string, string>>;
}

const OPTIONS = namesOf<MallocMetricsOptions>({ register: true, prefix: true, labels: true });

/** The metrics in a register. */
export interface MallocMetrics {
  /** Removes the metrics from the register. A second call does nothing. */
  stop(): void;
  /** Calls {@link stop}, for `using`. */
  [Symbol.dispose](): void;
}

/** The labels that the metrics already have. */
const OWN_LABELS: readonly string[] = [...SETUP_LABELS, 'allocator', 'version', 'kind', 'part'];

/**
 * Adds metrics to a register: the parts of this process's memory, the allocator's own figures, and the releases. Each scrape
 * reads all figures once, on a thread of libuv's pool. See `memory` for the cost. If the read fails, the scrape fails.
 *
 * @throws `MallocBackendError` `ERR_INVALID_ARGUMENT`, also if the register already has the metrics. The errors of
 * `activeBackend`.
 */
export function collectMallocMetrics(options: MallocMetricsOptions = {}): MallocMetrics {
  requireOptions(options, OPTIONS);
  const { register = standard, prefix = '', labels = {} } = options;
  if (typeof register?.registerMetric !== 'function') {
    throw wrong(`the register must be a Registry of prom-client, not ${shown(register)}`);
  }
  if (typeof prefix !== 'string' || !/^([a-zA-Z_:][a-zA-Z0-9_:]*)?$/.test(prefix)) {
    throw wrong(`the prefix must consist of letters, digits, _ and :, not ${shown(prefix)}`);
  }
  requireLabels(labels);
  linuxBinding('the breakdown of memory');
  ownMalloc();
  const start = `${prefix}malloc_backend_`;
  if (register.getSingleMetric(`${start}info`) !== undefined) {
    throw wrong(
      `the register already has ${start}info; call collectMallocMetrics once for each register, or give another prefix`,
    );
  }
  const names: string[] = [];
  const common = (name: string, help: string, own: string[]) => {
    names.push(name);
    return { name, help, labelNames: [...SETUP_LABELS, ...own, ...Object.keys(labels)], registers: [] };
  };
  const gauge = (
    name: string,
    help: string,
    own: string[],
    collect: Collect,
    aggregator: Figure['aggregator'] | 'sum' = 'sum',
  ) =>
    register.registerMetric(
      new Gauge({
        ...common(start + name, help, own),
        aggregator,
        async collect() {
          const breakdown = await read();
          const setup = setupLabels(breakdown);
          collect(breakdown, (value, more = {}) => this.set({ ...labels, ...setup, ...more }, value));
        },
      }),
    );
  const counter = (name: string, help: string, of: Figure['of']) =>
    register.registerMetric(
      new Counter({
        ...common(`${start}${name}_total`, help, []),
        async collect() {
          const breakdown = await read();
          this.reset();
          this.inc({ ...labels, ...setupLabels(breakdown) }, of(breakdown));
        },
      }),
    );

  gauge('info', 'The allocator that serves malloc', ['allocator', 'version', 'kind'], ({ active }, set) => {
    const { allocator, version = '', kind } = active;
    set(1, { allocator, version, kind });
  });
  gauge(`${partsFigure.name}_bytes`, partsFigure.help, ['part'], ({ parts }, set) => {
    for (const [part, bytes] of labelledParts(parts)) set(bytes, { part });
  });
  for (const { type, name, unit, help, of, aggregator } of figures) {
    const full = unit === '' ? name : `${name}_${unit}`;
    if (type === 'counter') counter(full, help, of);
    else
      gauge(
        full,
        help,
        [],
        (breakdown, set) => {
          const value = of(breakdown);
          if (value !== undefined) set(value);
        },
        aggregator,
      );
  }
  const stop = (): void => {
    for (const name of names.splice(0)) register.removeSingleMetric(name);
  };
  return { stop, [Symbol.dispose]: stop };
}

function requireLabels(labels: unknown): void {
  if (typeof labels !== 'object' || labels === null || Array.isArray(labels)) {
    throw wrong(`labels must be an object of strings, not ${shown(labels)}`);
  }
  for (const [name, value] of Object.entries(labels)) {
    if (!/^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)) {
      throw wrong(`a label's name must consist of letters, digits and _, not ${shown(name)}`);
    }
    if (OWN_LABELS.includes(name))
      throw wrong(`the metrics already have a label ${name}; choose another name`);
    if (typeof value !== 'string') throw wrong(`the label ${name} must be a string, not ${shown(value)}`);
  }
}

type Collect = (
  breakdown: MemoryBreakdown,
  set: (value: number, labels?: Record<string, string>) => void,
) => void;

function wrong(problem: string): MallocBackendError {
  return invalidArgument(`collectMallocMetrics: ${problem}`);
}
