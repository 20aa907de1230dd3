import { points } from '../format.js';

/** What a number is an amount of. */
export type Kind = 'bytes' | 'seconds' | 'milliseconds' | 'rate';

/** A unit with its decimals, for numbers that are compared with one another. */
export interface Unit {
  name: string;
  /** How many of the kind's own unit it holds. */
  size: number;
  decimals: number;
}

/** Each with the amount from which it is used. */
const UNITS: Record<Kind, readonly { name: string; size: number; from: number }[]> = {
  bytes: [
    { name: 'GiB', size: 2 ** 30, from: 10 * 2 ** 30 },
    { name: 'MiB', size: 2 ** 20, from: 2 ** 20 },
    { name: 'KiB', size: 2 ** 10, from: 0 },
  ],
  seconds: [
    { name: 'min', size: 60, from: 1200 },
    { name: 's', size: 1, from: 1 },
    { name: 'ms', size: 1e-3, from: 0 },
  ],
  milliseconds: [
    { name: 's', size: 1000, from: 10_000 },
    { name: 'ms', size: 1, from: 1 },
    { name: 'µs', size: 1e-3, from: 0 },
  ],
  rate: [{ name: '/s', size: 1, from: 0 }],
};

export const isNumber = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value);

/** The unit for all of the values together: three digits of the largest, and a fourth where they lie far apart. */
export function unitFor(kind: Kind, values: readonly number[]): Unit {
  const amounts = values.map(Math.abs).filter((value) => isNumber(value) && value > 0);
  const largest = Math.max(0, ...amounts);
  const [first, ...others] = UNITS[kind].filter(({ from }) => largest >= from || from === 0);
  const { name, size } = first ?? others[0]!;
  const digits = largest > 0 ? 2 - Math.floor(Math.log10(largest / size)) : 0;
  const decimals = digits + Number(Math.min(...amounts) * 20 < largest);
  return { name, size, decimals: Math.min(3, Math.max(0, decimals)) };
}

/** The number alone, as for a column whose head has the unit. */
export function amount(value: number, { size, decimals }: Unit): string {
  return grouped(value / size, decimals);
}

/** The number with its unit. */
export const withUnit = (value: number, unit: Unit): string =>
  `${amount(value, unit)}${unit.name.startsWith('/') ? '' : '\u00a0'}${unit.name}`;

/** One value by itself. */
export const single = (value: number, kind: Kind): string => withUnit(value, unitFor(kind, [value]));

/** With a comma between thousands and a true minus sign. */
export function grouped(value: number, decimals = 0): string {
  const text = value.toLocaleString('en-US', {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
  return /[1-9]/.test(text) ? text.replace('-', '\u2212') : text.replace('-', '');
}

/** A ratio with its interval, as the change that it is: `−61 %` and `[−64, −58]`. */
export function change({ ratio, low, high }: { ratio: number; low: number; high: number }): {
  value: string;
  interval: string;
} {
  return { value: `${points(ratio)}\u00a0%`, interval: `[${points(low)}, ${points(high)}]` };
}
