/**
 * Metrics for OpenTelemetry. Your service must install OpenTelemetry's API (`@opentelemetry/api`) itself.
 *
 * | instrument | unit | attributes besides `backend`, `preset` and `config` |
 * | --- | --- | --- |
 * | `malloc_backend.rss` | By | |
 * | `malloc_backend.memory`, whose sum is RSS | By | `part` |
 * | `malloc_backend.allocated`, `.active`, `.metadata`, `.resident`, `.mapped`, `.retained`; only figures that the allocator counts | By | |
 * | `malloc_backend.start_time`; when the process began | s | |
 * | `malloc_backend.cpu`, counter | s | |
 * | `malloc_backend.releases`, `malloc_backend.released`, `malloc_backend.release`, counters | `{release}`, By, s | |
 * | `malloc_backend.heap_profile_running`, 1 or 0; `.heap_profile_live` | `{profile}`, `{sample}` | |
 * | `malloc_backend.heap_profile_samples`, `.heap_profile_dropped`, `.heap_profile`, counters | `{sample}`, `{sample}`, s | |
 *
 * A receiver of OTLP that adds units to the names, for Prometheus, makes of them the names of `malloc-backend/prometheus`.
 *
 * @packageDocumentation
 */

import '../bundled.js';
import { type MeterProvider, type Observable, createNoopMeter, metrics } from '@opentelemetry/api';
import { linuxBinding } from '../native/loader.js';
import { invalidArgument, shown } from '../errors.js';
import { ownMalloc } from '../memory/own.js';
import { type Figure, figures, labelledParts, partsFigure, read, setupLabels } from './figures.js';

/** The observation of the metrics. */
export interface MallocObservation {
  /** Ends the observation. A second call does nothing. */
  stop(): void;
  /** Calls {@link stop}, for `using`. */
  [Symbol.dispose](): void;
}

/** OpenTelemetry's units. */
const UNITS = { bytes: 'By', seconds: 's' } as const;

const unitOf = ({ unit, counted }: Figure): string => (unit === '' ? `{${counted}}` : UNITS[unit]);

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
    throw invalidArgument(
      `observeMallocMetrics: the provider must be a MeterProvider of OpenTelemetry, not ${shown(source)}`,
    );
  }
  linuxBinding('the breakdown of memory');
  ownMalloc();
  const meter = source.getMeter('malloc-backend');
  // Unlike traces, the API never passes metrics to a provider that is set later.
  if (provider === undefined && meter === createNoopMeter()) {
    throw invalidArgument(
      'observeMallocMetrics: no global MeterProvider is set, and a provider that is set later would get no metrics; call ' +
        'observeMallocMetrics after the SDK has started, or pass a provider',
    );
  }
  const usage = meter.createObservableGauge(`malloc_backend.${partsFigure.name}`, {
    description: partsFigure.help,
    unit: UNITS.bytes,
  });
  const instruments = figures.map((figure) => {
    const { type, name, help, of } = figure;
    const options = { description: help, unit: unitOf(figure) };
    const full = `malloc_backend.${name}`;
    const instrument =
      type === 'gauge'
        ? meter.createObservableGauge(full, options)
        : meter.createObservableCounter(full, options);
    return { of, instrument };
  });
  const observed: Observable[] = [usage, ...instruments.map(({ instrument }) => instrument)];

  const observe: Parameters<typeof meter.addBatchObservableCallback>[0] = async (result) => {
    const breakdown = await read();
    const setup = setupLabels(breakdown);
    for (const [part, value] of labelledParts(breakdown.parts))
      result.observe(usage, value, { ...setup, part });
    for (const { of, instrument } of instruments) {
      const value = of(breakdown);
      if (value !== undefined) result.observe(instrument, value, setup);
    }
  };
  meter.addBatchObservableCallback(observe, observed);
  const stop = () => meter.removeBatchObservableCallback(observe, observed);
  return { stop, [Symbol.dispose]: stop };
}
