import type { CompareResults } from '../../results.js';
import { count, duration } from '../format.js';
import { disclosure, scrollingTable } from './figure.js';
import { copied } from './headline.js';
import { type Content, type Markup, breakable, markup } from '../../../html/markup.js';
import { grouped, single } from './numbers.js';
import type { Row } from './rows.js';
import { commandLine } from './shell.js';

/** Where and how it was measured, and how to measure it again. */
export function conditions(results: CompareResults, rows: readonly Row[]): Markup {
  return markup`<section id="conditions" aria-labelledby="conditions-title">
<h2 id="conditions-title">How it was measured</h2>
<div class="columns">
<div><h3>Machine</h3>${list(machine(results))}</div>
<div><h3>Measurement</h3>${list(measurement(results))}</div>
</div>
<h3>Allocators</h3>
${scrollingTable({
  caption: 'The version and the library of each subject',
  head: ['Subject', 'Backend', 'Preset', 'Version', 'Library'],
  text: [1, 2, 3],
  long: [4],
  body: rows.map(({ id, subject: { backend, preset, version, library } }) => ({
    cells: [breakable(id), backend, preset, version, breakable(library)],
  })),
})}
${disclosure('How to read the figures', method(results))}
</section>
<section id="reproduce" aria-labelledby="reproduce-title">
<h2 id="reproduce-title">How to measure it again</h2>
<p class="description">The same seed gives the same order of the runs.</p>
${copied('command-line', commandLine(results))}
</section>
`;
}

type Fact = readonly [term: string, value: Content];

const list = (facts: readonly Fact[]): Markup =>
  markup`<dl class="facts-list">${facts.map(([term, value]) => markup`<div><dt>${term}</dt><dd>${value}</dd></div>\n`)}</dl>`;

function machine({
  machine: { cpu, cores, memory, kernel, libc, node, governor, transparentHugePages, load },
}: CompareResults): Fact[] {
  return [
    ['Processor', cpu],
    ['Logical cores', grouped(cores)],
    ['Memory', single(memory, 'bytes')],
    ['Kernel', kernel],
    ['C library', libc],
    ['Node', node],
    ['CPU governor', governor ?? 'not known'],
    ['Transparent huge pages', transparentHugePages ?? 'not known'],
    ['Load average before', grouped(load, 2)],
  ];
}

function measurement({ tool, mode, options, runs }: CompareResults): Fact[] {
  const { runs: asked, budgetMs, warmup, seed, intervalMs, service } = options;
  const failed = runs.filter(({ failure }) => failure !== undefined).length;
  const leftBehind = runs.filter((run) => (run.leftBehind ?? 0) > 0).length;
  const facts: (Fact | false)[] = [
    ['Tool', tool],
    ['Mode', mode],
    asked !== undefined && ['Rounds asked for', grouped(asked)],
    budgetMs !== undefined && ['Budget', duration(budgetMs)],
    ['Warm-up', `${count(warmup, 'run')} of each subject`],
    ['Seed', String(seed)],
    ['RSS sampled every', `${intervalMs}\u00a0ms`],
    service !== undefined && ['Ready when', markup`<code>${breakable(service.ready)}</code>`],
    service !== undefined && ['Load', markup`<code>${breakable(service.load)}</code>`],
    service?.rate !== undefined && ['Rate', single(service.rate, 'rate')],
    service?.connections !== undefined && ['Connections', grouped(service.connections)],
    service?.duration !== undefined && ['Load lasts', duration(service.duration * 1000)],
    service !== undefined && ['Idle for', duration(service.idle * 1000)],
    failed > 0 && ['Runs that failed', grouped(failed)],
    leftBehind > 0 && ['Runs that left processes behind', grouped(leftBehind)],
  ];
  return facts.filter((fact) => fact !== false);
}

function method({ mode, baseline }: CompareResults): Markup {
  const latency =
    mode === 'service' &&
    markup`<li>Latency is the time from when a request was due to its answer. A server that stops answering delays all requests that are due meanwhile.</li>`;
  return markup`<ul>
<li>Each run is a fresh process, with proof of its allocator. In each round every subject runs once, in a random order.</li>
<li>A value is the median over the runs. The brackets are its 95\u00a0% interval by bootstrap.</li>
<li>A change is the ratio to ${breakable(baseline)} in the same round, with its 95\u00a0% interval.</li>
<li>The verdict <em>lower</em> or <em>higher</em> is certain after correction for the number of subjects. <em>No difference</em>: the whole interval is near the baseline. <em>Undecided</em>: the runs are too few, or too unequal, to tell.</li>
<li>RSS is memory that is in RAM. CPU time is user and system time of the program and everything that it started.</li>
${latency}
</ul>`;
}
