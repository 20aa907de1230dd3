/**
 * Metrics for OpenTelemetry, whose API (`@opentelemetry/api`) the service brings itself.
 *
 * | instrument | unit | attributes besides `backend` |
 * | --- | --- | --- |
 * | `malloc_backend.memory.rss` | By | |
 * | `malloc_backend.memory.usage`, whose sum is RSS | By | `part` |
 * | `malloc_backend.allocated`, `.active`, `.metadata`, `.resident`, `.mapped`, `.retained`, as far as the allocator tells | By | |
 * | `malloc_backend.releases`, `malloc_backend.released`, `malloc_backend.release.duration`, counters | `{release}`, By, s | |
 *
 * @packageDocumentation
 */

import '../bundled.js';
import { type MeterProvider, type Observable, createNoopMeter, metrics } from '@opentelemetry/api';
import { linuxBinding } from '../native/loader.js';
import { MallocBackendError, shown } from '../errors.js';
import { ownMalloc } from '../memory/own.js';
import { backendLabel, labelledParts, read, statistics, totals } from './figures.js';

/** Ends the observation. */
export interface MallocObservation {
  /** May be called again. */
  stop(): void;
  /** The same, for `using`. */
  [Symbol.dispose](): void;
}

/** The unit's code and what of the Prometheus name is another word here. */
const counters: Record<string, { name: string; unit: string }> = {
  releases: { name: 'releases', unit: '{release}' },
  released: { name: 'released', unit: 'By' },
  release: { name: 'release.duration', unit: 's' },
};

/**
 * Has a meter observe where this process's memory is, and what its allocator tells. Everything is read when the metrics
 * are collected, once for all, on a thread of libuv's pool: see `memory` for what that takes.
 *
 * @param provider - Default: the global one, which must have been set: call this after the SDK has started.
 * @throws `MallocBackendError` `ERR_INVALID_ARGUMENT`; and as `activeBackend`
 */
export function observeMallocMetrics(provider?: MeterProvider): MallocObservation {
  const source = provider === undefined ? metrics.getMeterProvider() : provider;
  if (typeof source?.getMeter !== 'function') {
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      `observeMallocMetrics: the provider must be a MeterProvider of OpenTelemetry, not ${shown(source)}`,
    );
  }
  linuxBinding('the breakdown of memory');
  ownMalloc();
  const meter = source.getMeter('malloc-backend');
  // The API hands metrics on to no provider that is set later, as it does with traces.
  if (provider === undefined && meter === createNoopMeter()) {
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      'observeMallocMetrics: no global MeterProvider is set, and a provider that is set later would get no metrics; call ' +
        'observeMallocMetrics after the SDK has started, or pass a provider',
    );
  }
  const bytes = (name: string, description: string) =>
    meter.createObservableGauge(`malloc_backend.${name}`, { description, unit: 'By' });

  const rss = bytes('memory.rss', 'Bytes in physical memory');
  const usage = bytes('memory.usage', 'Bytes in physical memory, by what they are of');
  const gauges = statistics.map(({ key, name, help }) => ({ key, gauge: bytes(name, help) }));
  const sums = totals.map(({ name, help, value }) => {
    const counter = counters[name] ?? { name, unit: '' };
    const options = { description: help, unit: counter.unit };
    return { value, counter: meter.createObservableCounter(`malloc_backend.${counter.name}`, options) };
  });
  const observed: Observable[] = [
    rss,
    usage,
    ...gauges.map(({ gauge }) => gauge),
    ...sums.map(({ counter }) => counter),
  ];

  const observe: Parameters<typeof meter.addBatchObservableCallback>[0] = async (result) => {
    const breakdown = await read();
    const backend = backendLabel(breakdown);
    result.observe(rss, breakdown.rss, { backend });
    for (const [part, value] of labelledParts(breakdown.parts))
      result.observe(usage, value, { backend, part });
    for (const { key, gauge } of gauges) {
      const value = breakdown.stats?.[key];
      if (value !== undefined) result.observe(gauge, value, { backend });
    }
    for (const { value, counter } of sums) result.observe(counter, value(), { backend });
  };
  meter.addBatchObservableCallback(observe, observed);
  const stop = () => meter.removeBatchObservableCallback(observe, observed);
  return { stop, [Symbol.dispose]: stop };
}
