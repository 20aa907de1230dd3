// Figures for people. The page uses these functions, too.

import type { Frame, Kind, Type } from './data.js';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `38.1 MiB`, or `1,204`. */
export function figure(value: number, { unit }: Pick<Type, 'unit'>): string {
  const size = Math.abs(value);
  if (unit !== 'bytes')
    return `${value < 0 ? '−' : ''}${grouped(size)}${unit === 'count' || unit === '' ? '' : ` ${unit}`}`;
  let [shown, at] = [size, 0];
  // What would be shown as 1024.0 is one of the next unit.
  for (; shown >= 1023.95 && at < UNITS.length - 1; at++) shown /= 1024;
  return `${value < 0 ? '−' : ''}${at === 0 ? Math.round(shown) : shown.toFixed(1)} ${UNITS[at]}`;
}

const grouped = (value: number): string => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');

/** With its sign, which the colour only repeats: `+38.1 MiB`, `−2.0 MiB`, `±0`. */
export function change(value: number, type: Pick<Type, 'unit'>): string {
  if (value === 0) return '±0';
  return value > 0 ? `+${figure(value, type)}` : figure(value, type);
}

/** A part of the whole: `97.2 %`. */
export function share(value: number, whole: number): string {
  if (whole === 0) return '0 %';
  const percent = (value / whole) * 100;
  return percent !== 0 && Math.abs(percent) < 0.1 ? '< 0.1 %' : `${percent.toFixed(1).replace('-', '−')} %`;
}

export const KINDS: Readonly<Record<Kind, string>> = {
  app: 'your code',
  package: 'a package',
  node: 'Node.js',
  native: 'native code',
};

/** `lib/leak.js:5`. */
export function placeOf({ module, line }: Pick<Frame, 'module' | 'line'>): string {
  return line > 0 && module !== '' ? `${module}:${line}` : module;
}
