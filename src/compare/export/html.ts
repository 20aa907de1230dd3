import type { CompareResults } from '../results.js';
import { conditions } from './html/conditions.js';
import { application, headline, warnings } from './html/headline.js';
import { latencyChart } from './html/latency-chart.js';
import { shapeDefinitions } from './html/looks.js';
import { document } from '../../html/document.js';
import { type Markup, markup } from '../../html/markup.js';
import { memoryChart } from './html/memory-chart.js';
import { timesOf } from './html/metrics.js';
import { planeChart } from './html/plane-chart.js';
import { rowsOf } from './html/rows.js';
import { SCRIPT } from './html/script.js';
import { commandText } from './html/shell.js';
import { STYLE } from './html/style.js';
import { summary } from './html/summary.js';
import { timesChart } from './html/times-chart.js';

/** The results as one HTML file, which loads nothing and needs no script to be read. */
export function renderHtml(results: CompareResults): string {
  const rows = rowsOf(results);
  const parts: [id: string, name: string, content: Markup | undefined][] = [
    ['apply', 'Apply it', application(results)],
    ['summary', 'Summary', summary(results, rows)],
    ['warnings', 'Warnings', warnings(results)],
    ['memory', 'RSS over time', memoryChart(results, rows)],
    ['plane', 'CPU and memory', planeChart(results, rows)],
    ['latency', 'Latency', latencyChart(rows)],
    ...timesOf(results).map((metric): [string, string, Markup | undefined] => [
      `times-${metric.name}`,
      metric.label,
      timesChart(metric, results, rows),
    ]),
    ['conditions', 'How it was measured', conditions(results, rows)],
    ['reproduce', 'Measure it again', undefined],
  ];
  const shown = parts.flatMap(([id, name, content]) =>
    content !== undefined || id === 'reproduce' ? [[id, name] as const] : [],
  );
  return document({
    title: title(results),
    generator: results.tool,
    style: STYLE,
    hasStyleAttributes: true,
    script: SCRIPT,
    header: markup`${shapeDefinitions()}
${headline(results, rows)}`,
    navigation: 'Parts of the report',
    parts: shown,
    content: markup`${parts.map(([, , content]) => content)}`,
  });
}

function title({ command }: CompareResults): string {
  return `Allocators compared: ${commandText(command)}`;
}
