import { grouped } from './numbers.js';
import type { Tick } from './plot.js';
import type { Scale } from './scales.js';

/** The ticks of a scale, with as many decimals as their step needs. */
export function ticksOf({ ticks, step, place }: Scale): Tick[] {
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return ticks.map((value) => ({ place: place(value), label: grouped(value, decimals) }));
}

/** The ticks of a logarithmic scale, each with the decimals that it needs. */
export function powersOf({ ticks, place }: Omit<Scale, 'step'>): Tick[] {
  return ticks.map((value) => ({
    place: place(value),
    label: grouped(value, Math.max(0, -Math.floor(Math.log10(value) + 1e-9))),
  }));
}
