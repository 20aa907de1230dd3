import { createHash } from 'node:crypto';
import type { CompareResults } from '../results.js';
import { conditions } from './html/conditions.js';
import { application, headline, warnings } from './html/headline.js';
import { latencyChart } from './html/latency-chart.js';
import { shapeDefinitions } from './html/looks.js';
import { Markup, markup } from '../../html/markup.js';
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
  const shown = parts.filter(([id, , content]) => content !== undefined || id === 'reproduce');
  const page = markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="generator" content="${results.tool}">
<title>${title(results)}</title>
<link rel="icon" href="data:,">
<style>${new Markup(STYLE)}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
${shapeDefinitions()}
${headline(results, rows)}
<nav aria-label="Parts of the report"><ul>${shown.map(([id, name]) => markup`<li><a href="#${id}">${name}</a></li>`)}</ul></nav>
<main id="content" tabindex="-1">
${parts.map(([, , content]) => content)}
</main>
<footer><p>Made by ${results.tool}. This file loads nothing from a network.</p></footer>
<script>${new Markup(SCRIPT)}</script>
</body>
</html>
`;
  return page.text;
}

/** Also if a name were not escaped, nothing would be loaded or run. */
const POLICY = [
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  `script-src 'sha256-${createHash('sha256').update(SCRIPT).digest('base64')}'`,
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

function title({ command }: CompareResults): string {
  return `Allocators compared: ${commandText(command)}`;
}
