// The table that the terminal and Markdown share.

import { DECIDING, METRIC } from '../metrics.js';
import type { CompareResults, MetricName, Verdict } from '../results.js';
import { amount, verdict } from './format.js';

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
  const names = DECIDING[mode].filter((name) => summaries.some(({ metrics }) => metrics[name] !== undefined));
  return {
    titles: names.map((name) => METRIC[name].title),
    rows: summaries.map(({ subject, metrics, against }) => ({
      subject,
      isBaseline: subject === baseline,
      cells: names.map((name): Cell => {
        const [estimate, comparison] = [metrics[name], against?.[name]];
        if (estimate === undefined) return { text: '' };
        const value = amount(name, estimate.median);
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

function toneOf(name: MetricName, found: Verdict): Cell['tone'] {
  if (found === 'no difference') return undefined;
  if (found === 'undecided') return 'undecided';
  return (found === 'lower') === (name !== 'throughput') ? 'better' : 'worse';
}
