// Figures as a reader sees them.

import { METRIC } from '../metrics.js';
import type { Comparison, MetricName } from '../results.js';

/** `1.24 s`, `812 MiB`: three digits and a unit. */
export const amount = (name: MetricName, value: number): string => withUnit(METRIC[name].unit, value);

export type Unit = (typeof METRIC)[MetricName]['unit'] | 'cores';

export function withUnit(unit: Unit, value: number): string {
  switch (unit) {
    case 'seconds':
      return seconds(value);
    case 'bytes':
      return bytes(value);
    case 'milliseconds':
      return seconds(value / 1000);
    case 'rate':
      return `${digits(value)}/s`;
    case 'cores':
      return `${Number(value.toPrecision(3))} cores`;
  }
}

export function seconds(value: number): string {
  if (value >= 100) return `${Math.round(value)} s`;
  if (value >= 1) return `${digits(value)} s`;
  return value >= 0.001 || value === 0 ? `${digits(value * 1000)} ms` : `${digits(value * 1_000_000)} µs`;
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytes(value: number): string {
  let unit = 0;
  let rest = value;
  // 1,000 and not 1,024: a figure has at most three digits before the point.
  while (rest >= 1000 && unit < UNITS.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${digits(rest)} ${UNITS[unit]}`;
}

/** Three of them, without an exponent. */
function digits(value: number): string {
  if (value >= 100) return String(Math.round(value));
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** `−49 %`, `+0.4 %`: of a ratio. */
export function change(ratio: number): string {
  return `${points(ratio)} %`;
}

/** A ratio of 0.51 is −49. From 100 on a factor is easier to read, but it stays one form. */
export function points(ratio: number): string {
  const value = (ratio - 1) * 100;
  const text = Math.abs(value) < 10 ? Math.abs(value).toFixed(1) : String(Math.round(Math.abs(value)));
  const sign = Number(text) === 0 ? '±' : value < 0 ? '−' : '+';
  return `${sign}${text.replace(/\.0$/, '')}`;
}

/** `−49 % [−51, −47]`, `±0`, `undecided [−3, +8]`. */
export function verdict({ ratio, low, high, verdict: found }: Comparison, hasInterval = true): string {
  if (found === 'no difference') return '±0';
  const text = found === 'undecided' ? found : change(ratio);
  return hasInterval ? `${text} [${points(low)}, ${points(high)}]` : text;
}

/** `1 round`, `7 rounds`. */
export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;

/** `45 s`, `8 min 20 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  const total = Math.max(0, Math.round(ms / 1000));
  const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min${rest > 0 ? ` ${rest} s` : ''}` : `${rest} s`;
}
