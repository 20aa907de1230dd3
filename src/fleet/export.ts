// The results for readers and for other programs.

import { csvOf } from '../compare/export/csv.js';
import { duration } from '../compare/export/format.js';
import { escaped, fenced, tableLine, warningList } from '../compare/export/markdown.js';
import { type Cell, type Row, tableOf } from '../compare/export/rows.js';
import { FLEET_METRIC, FLEET_METRICS, type FleetResults, type FleetPod } from './results.js';

const COLUMNS = FLEET_METRICS.map((name) => ({ name, ...FLEET_METRIC[name] }));

/** The table: one row a variant. */
export function fleetRows(
  { summaries, baseline, variants }: FleetResults,
  hasIntervals: boolean,
): { titles: string[]; rows: Row[] } {
  const { titles, rows } = tableOf(summaries, baseline, COLUMNS, hasIntervals);
  const about = ({ subject }: Row): Cell[] => {
    const { pods, restarts, ageSeconds } = variants.find(({ id }) => id === subject)!;
    const age = ageSeconds === undefined ? '' : duration(ageSeconds * 1000);
    return [String(pods), String(restarts), age].map((text) => ({ text }));
  };
  return {
    titles: ['pods', 'restarts', 'age', ...titles],
    rows: rows.map((row) => ({ ...row, cells: [...about(row), ...row.cells] })),
  };
}

/** What was compared, in a line. */
export function fleetCircumstances({ query, baseline, prometheus, tool }: FleetResults): string {
  const { from, to, by, pod, workload, scrapeSeconds } = query;
  const short = (time: string): string => time.slice(0, 16).replace('T', ' ');
  return [
    `Medians over the pods, differences to ${baseline} with 95 % intervals`,
    `by ${by.join(', ')}; a pod is one ${pod.join(', ')}`,
    ...(workload === '' ? [] : [workload]),
    `${short(from)} to ${short(to)} UTC, a scrape every ${Number(scrapeSeconds.toPrecision(3))} s`,
    prometheus,
    `${tool}.`,
  ].join('; ');
}

/** The results of `compareFleet` as Markdown: the table, the advice, the warnings, and what was asked. */
export function renderFleetMarkdown(results: FleetResults): string {
  const { titles, rows } = fleetRows(results, true);
  const { advice, warnings } = results;
  const table = [
    tableLine(['variant', ...titles]),
    `| --- |${titles.map(() => ' ---: |').join('')}`,
    ...rows.map(({ subject, cells }) => tableLine([subject, ...cells.map(({ text }) => text)])),
  ].join('\n');
  const parts = [
    table,
    `**${escaped(advice.sentence)}**`,
    ...(warnings.length === 0 ? [] : [warningList(warnings)]),
    fenced('', fleetCircumstances(results)),
  ];
  return `${parts.join('\n\n')}\n`;
}

const POD: Record<keyof FleetPod, true> = {
  variant: true,
  pod: true,
  scrapes: true,
  observedSeconds: true,
  restarts: true,
  ageSeconds: true,
  meanRss: true,
  medianRss: true,
  peakRss: true,
  cpu: true,
  cpuPerRequest: true,
  requests: true,
};

/** The pods of `compareFleet` as CSV, one row each. Units are those of the results: seconds and bytes. */
export function renderFleetCsv({ pods }: FleetResults): string {
  const names = Object.keys(POD) as (keyof FleetPod)[];
  return csvOf(
    names.map((name) => [name, (pod: FleetPod) => pod[name]] as const),
    pods,
  );
}
