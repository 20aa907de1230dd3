/**
 * Metrics for OpenTelemetry. Your service must install OpenTelemetry's API (`@opentelemetry/api`) itself.
 *
 * | instrument | unit | attributes besides `backend` |
 * | --- | --- | --- |
 * | `malloc_backend.memory.rss` | By | |
 * | `malloc_backend.memory.usage`, whose sum is RSS | By | `part` |
 * | `malloc_backend.allocated`, `.active`, `.metadata`, `.resident`, `.mapped`, `.retained`; only figures that the allocator counts | By | |
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

/** The observation of the metrics. */
export interface MallocObservation {
  /** Ends the observation. A second call does nothing. */
  stop(): void;
  /** Calls {@link stop}, for `using`. */
  [Symbol.dispose](): void;
}

/** OpenTelemetry's names and units of the counters, by their Prometheus names. */
const counters: Record<string, { name: string; unit: string }> = {
  releases: { name: 'releases', unit: '{release}' },
  released: { name: 'released', unit: 'By' },
  release: { name: 'release.duration', unit: 's' },
};

/**
 * Lets a meter observe the parts of this process's memory, the allocator's own figures, and the releases. Each collection of
 * the metrics reads all figures once, on a thread of libuv's pool. See `memory` for the cost.
 *
 * @param provider - Default: the global provider. Without this argument, call the function after the SDK has started, because
 * the SDK sets the global provider.
 * @throws `MallocBackendError` `ERR_INVALID_ARGUMENT`. The errors of `activeBackend`.
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
  // Unlike traces, the API never passes metrics to a provider that is set later.
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
