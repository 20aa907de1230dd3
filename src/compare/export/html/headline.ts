import type { CompareResults } from '../../results.js';
import { count } from '../format.js';
import { type Markup, breakable, markup } from '../../../html/markup.js';
import { type Metric, memoryMetric, metricsOf } from './metrics.js';
import { change, isNumber, unitFor, withUnit } from './numbers.js';
import type { Row } from './rows.js';
import { commandText } from './shell.js';
import { effect } from './summary.js';

/** A longer sentence than this has smaller letters. */
const LONG = 90;

/** What was found, in one sentence, and from how many runs. */
export function headline(results: CompareResults, rows: readonly Row[]): Markup {
  const { created, tool, command, finished, runs, subjects } = results;
  const said = sentence(results);
  const rounds = new Set(runs.map(({ round }) => round)).size;
  const facts = [
    count(subjects.length, 'subject'),
    count(rounds, 'round'),
    count(runs.length, 'run'),
    results.machine.cpu,
  ];
  return markup`<header>
<p class="over">${tool} <span aria-hidden="true">·</span> compare</p>
<h1${said.length > LONG && markup` class="long"`}>${said}</h1>
<p class="command"><code>${commandText(command)}</code></p>
<p class="facts"><time datetime="${created}">${moment(created)}</time>${facts.map((fact) => markup` <span aria-hidden="true">·</span> <span>${fact}</span>`)}</p>
${!finished && markup`<p class="notice"><strong>Not finished.</strong> ${runs.length === 0 ? 'Each run that ends adds its figures.' : 'The figures are those of the runs so far, and may still change.'}</p>`}
${tiles(results, rows)}
</header>
`;
}

function sentence({ advice, runs, subjects }: CompareResults): string {
  // A figure stays with its sign.
  if (advice !== undefined) return advice.sentence.replace(/ (?=[%×])/g, '\u00a0');
  if (runs.length === 0) return 'No run has ended yet';
  return subjects.length === 1 ? 'One subject was measured' : 'There are too few rounds for advice';
}

/** ISO 8601 as a person writes it: `2026-11-30 01:40 UTC`. */
function moment(created: string): string {
  const time = new Date(created);
  return Number.isNaN(time.getTime()) ? created : `${time.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/** The advised subject beside the baseline, in the figures that decide. */
function tiles(results: CompareResults, rows: readonly Row[]): Markup | undefined {
  const advised = rows.find(({ isAdvised }) => isAdvised);
  const baseline = rows.find(({ isBaseline }) => isBaseline);
  if (advised === undefined || baseline === undefined || advised === baseline) return undefined;
  const names = new Set<string | undefined>([
    memoryMetric(results)?.name,
    'cpu',
    results.mode === 'batch' ? 'wall' : 'p99',
    'throughput',
  ]);
  const shown = metricsOf(results)
    .filter(({ name }) => names.has(name))
    .map((metric) => tile(metric, advised, baseline));
  return markup`<dl class="tiles" aria-label="${advised.id} against ${baseline.id}">${shown}</dl>`;
}

function tile(metric: Metric, advised: Row, baseline: Row): Markup | undefined {
  const against = advised.summary?.against?.[metric.name];
  const [own, other] = [advised, baseline].map(({ summary }) => summary?.metrics[metric.name]?.median);
  if (!isNumber(own) || !isNumber(other) || against === undefined || !isNumber(against.ratio))
    return undefined;
  const unit = unitFor(metric.kind, [own, other]);
  const { value, interval } = change(against);
  const kind = effect(against.verdict, metric);
  return markup`<div><dt>${metric.label}</dt><dd class="${kind}"><b>${value}</b> <span class="interval">${interval}</span></dd><dd class="pair"><span class="verdict ${kind}">${against.verdict}</span>: ${withUnit(own, unit)} against ${withUnit(other, unit)}</dd></div>`;
}

/** The lines that apply the advice. */
export function application({ advice }: CompareResults): Markup | undefined {
  if (advice?.dockerfile === undefined || advice.dockerfile.length === 0) return undefined;
  return markup`<section id="apply" aria-labelledby="apply-title">
<h2 id="apply-title">Apply it</h2>
<p class="description">In the Dockerfile${advice.subject !== null && markup`, for ${breakable(advice.subject)}`}:</p>
${copied('dockerfile', advice.dockerfile.join('\n'))}
</section>
`;
}

/** Text to copy. The button is there where the script is. */
export function copied(id: string, text: string): Markup {
  return markup`<div class="copied"><pre><code id="${id}">${text}</code></pre><button type="button" hidden data-copies="${id}">Copy</button></div>`;
}

/** What may spoil the result. */
export function warnings({ warnings: all }: CompareResults): Markup | undefined {
  if (all.length === 0) return undefined;
  return markup`<section id="warnings" aria-labelledby="warnings-title">
<h2 id="warnings-title">Warnings</h2>
<ul class="warnings">${all.map(({ code, message, subject }) => markup`<li>${subject !== undefined && markup`<strong>${breakable(subject)}</strong>: `}${message} <code>${code}</code></li>\n`)}</ul>
</section>
`;
}
