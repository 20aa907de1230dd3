import { METRIC } from '../metrics.js';
import { type CompareResults, METRICS, type Run } from '../results.js';

const COLUMNS: readonly [name: string, of: (run: Run) => unknown][] = [
  ['subject', (run) => run.subject],
  ['round', (run) => run.round],
  ['at', (run) => run.at],
  ['user', (run) => run.user],
  ['system', (run) => run.system],
  ...METRICS.map((name): [string, (run: Run) => unknown] => [name, METRIC[name].of]),
  ['minorFaults', (run) => run.minorFaults],
  ['majorFaults', (run) => run.majorFaults],
  ['voluntarySwitches', (run) => run.voluntarySwitches],
  ['involuntarySwitches', (run) => run.involuntarySwitches],
  ['instructions', (run) => run.counters?.instructions],
  ['cacheMisses', (run) => run.counters?.cacheMisses],
  ['dtlbMisses', (run) => run.counters?.dtlbMisses],
  ['code', (run) => (run.failure === undefined ? 0 : run.failure.code)],
  ['signal', (run) => run.failure?.signal],
];

/** One row a run. Units are those of the results: seconds and bytes. */
export const renderCsv = ({ runs }: CompareResults): string => csvOf(COLUMNS, runs);

/** As RFC 4180 has it. */
export function csvOf<Item>(
  columns: readonly (readonly [name: string, of: (item: Item) => unknown])[],
  items: readonly Item[],
): string {
  const rows = [
    columns.map(([name]) => name),
    ...items.map((item) => columns.map(([, of]) => cell(of(item)))),
  ];
  return rows.map((row) => `${row.join(',')}\r\n`).join('');
}

function cell(value: unknown): string {
  const text = value === undefined || value === null ? '' : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
