// The table that the terminal and Markdown share.

import { DECIDING, METRIC } from '../metrics.js';
import type { CompareResults, Summary, Verdict } from '../results.js';
import { type Unit, verdict, withUnit } from './format.js';

export interface Cell {
  text: string;
  /** What the cell says, for a colour: better or worse than the baseline. */
  tone?: 'better' | 'worse' | 'undecided';
}

export interface Row {
  subject: string;
  isBaseline: boolean;
  cells: Cell[];
}

export interface Rows {
  titles: string[];
  rows: Row[];
}

/** One row a subject, one column a metric: the median, and the difference to the baseline, with its interval if that is wanted. */
export function rowsOf({ mode, summaries, baseline }: CompareResults, hasIntervals = true): Rows {
  const columns = DECIDING[mode].map((name) => ({ name, ...METRIC[name] }));
  return tableOf(summaries, baseline, columns, hasIntervals);
}

interface Column<Name> {
  name: Name;
  title: string;
  unit: Unit;
}

/** Columns without a value are left out. */
export function tableOf<Name extends string>(
  summaries: readonly Summary<Name>[],
  baseline: string,
  all: readonly Column<Name>[],
  hasIntervals: boolean,
): Rows {
  const columns = all.filter(({ name }) => summaries.some(({ metrics }) => metrics[name] !== undefined));
  return {
    titles: columns.map(({ title }) => title),
    rows: summaries.map(({ subject, metrics, against }) => ({
      subject,
      isBaseline: subject === baseline,
      cells: columns.map(({ name, unit }): Cell => {
        const [estimate, comparison] = [metrics[name], against?.[name]];
        if (estimate === undefined) return { text: '' };
        const value = withUnit(unit, estimate.median);
        if (comparison === undefined) return { text: value };
        const tone = toneOf(name, comparison.verdict);
        return {
          text: `${value} ${verdict(comparison, hasIntervals)}`,
          ...(tone === undefined ? {} : { tone }),
        };
      }),
    })),
  };
}

function toneOf(name: string, found: Verdict): Cell['tone'] {
  if (found === 'no difference') return undefined;
  if (found === 'undecided') return 'undecided';
  return (found === 'lower') === (name !== 'throughput') ? 'better' : 'worse';
}
