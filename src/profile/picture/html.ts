// A heap profile as one page, which loads nothing. Its tables can be read without its script.

import { document } from '../../html/document.js';
import { type Markup, markup } from '../../html/markup.js';
import { version } from '../../version.js';
import type { Profile } from '../pprof.js';
import type { Data, Kind } from './data.js';
import { dataOf } from './read.js';
import { SCRIPT } from './script.js';
import { STYLE } from './style.js';
import { type Table, body, whole } from './tables.js';
import { KINDS, change, figure } from './text.js';

/** The page for a profile, against an earlier one if there is one. */
export function page(profile: Profile, against?: Profile): string {
  const data = dataOf(profile, against);
  const sentence = headline(data);
  return document({
    title: sentence,
    generator: `malloc-backend ${version()}`,
    style: STYLE,
    hasStyleAttributes: false,
    script: SCRIPT,
    header: markup`<header>
<p class="over">Heap profile of native memory, with the functions that allocated it</p>
<h1>${sentence}</h1>
<p class="facts">${factsOf(profile, data)}</p>
</header>`,
    navigation: 'Parts of the page',
    parts: PARTS,
    content: markup`${controls(data)}
${graph(data)}
${TITLES.map(([table, title, text]) => section(data, table, title, text))}`,
    data: ['profile', data],
  });
}

function headline(data: Data): string {
  const type = data.types[data.first]!;
  const { before, after } = whole(data, data.first);
  const what = type.title.toLowerCase();
  if (data.mode === 'one') return `${figure(after, type)}: ${what}`;
  const changed = `${change(after - before, type)}: ${what}`;
  return data.mode === 'changes'
    ? changed
    : `${changed}, from ${figure(before, type)} to ${figure(after, type)}`;
}

function factsOf({ time, duration, period, periodType, comments }: Profile, { stacks }: Data): string {
  const stacksOf = `${stacks.node.length} ${stacks.node.length === 1 ? 'stack' : 'stacks'}`;
  const facts = [
    time > 0n &&
      time < LATEST &&
      new Date(Number(time / 1_000_000n)).toISOString().replace(/\..*/, ' UTC').replace('T', ' '),
    duration > 0n && `over ${Number(duration / 1_000_000n) / 1000} s`,
    stacksOf,
    period > 0 && `one sample in ${figure(period, { unit: periodType?.unit ?? '' })} on average`,
    ...comments,
  ];
  return facts.filter(Boolean).join(' · ');
}

/** The latest time that a `Date` has, in nanoseconds. */
const LATEST = 8_640_000_000_000_000n * 1_000_000n;

const PARTS: readonly [id: string, name: string][] = [
  ['graph', 'Flame graph'],
  ['functions', 'By function'],
  ['modules', 'By module'],
  ['packages', 'By package'],
];

function controls({ types, first }: Data): Markup {
  return markup`<div class="controls scripted" hidden>
<div><label for="type">Figures</label><select id="type">${types.map(
    ({ title, unit }, at) =>
      markup`<option value="${at}"${at === first && markup` selected`}>${title}${unit !== 'bytes' && unit !== 'count' && unit !== '' && ` (${unit})`}</option>`,
  )}</select></div>
<div class="search"><label for="search">Search functions, files and packages</label><input id="search" type="search" autocomplete="off" spellcheck="false"></div>
<p id="found" class="found" role="status"></p>
</div>
<noscript><p>Without its script the page shows the tables of ${types[first]!.title.toLowerCase()}.</p></noscript>`;
}

const GRADES = [
  ['more-3', 'grew'],
  ['less-3', 'shrank'],
  ['same', 'about the same'],
] as const;

function graph({ mode }: Data): Markup {
  const isOne = mode === 'one';
  const entries = isOne ? (Object.entries(KINDS) as [Kind, string][]) : GRADES;
  const width = isOne
    ? 'Each frame is as wide as the memory of the stacks through it'
    : 'The text of a frame begins with its change. Each stack is as wide as the larger one of its two figures';
  return markup`<section id="graph" aria-labelledby="graph-title">
<h2 id="graph-title">Flame graph</h2>
<p class="description" id="graph-text">A program calls from above downwards; memory is allocated at the lower ends. ${width}. Click on a frame, or press Enter, to fill the width with it. The arrow keys move, Escape zooms out, Home goes to the whole, End down the widest frames.</p>
<ul class="legend">${entries.map(([name, text]) => markup`<li><span class="dot ${name}"></span>${text}</li>`)}</ul>
<div class="scripted" hidden>
<div class="buttons"><button type="button" id="out" disabled>Zoom out</button><button type="button" id="reset" disabled>Show all</button></div>
<div id="flame" class="flame" aria-labelledby="graph-title" aria-describedby="graph-text"></div>
<div id="details" class="details"></div>
<p id="status" class="hidden" role="status"></p>
</div>
</section>`;
}

const TITLES: readonly [Table, string, string][] = [
  ['functions', 'By function', 'function'],
  ['modules', 'By module', 'source file or library'],
  ['packages', 'By package', 'package in node_modules or site-packages'],
];

function section(data: Data, table: Table, title: string, one: string): Markup {
  const { rows, count } = body(data, data.first, table);
  const isOne = data.mode === 'one';
  const what = isOne ? 'memory' : 'growth';
  return markup`<section id="${table}" aria-labelledby="${table}-title">
<h2 id="${table}-title">${title}</h2>
<p class="description">Own: the ${what} of the stacks in which this ${one} is the nearest one to the allocation that is yours or a package's; what Node and native code allocate for it is its own. Total: of all stacks in which it is.</p>
<div class="scroll" role="region" tabindex="0" aria-label="Table ${title.toLowerCase()}">
<table><caption class="hidden">${title}</caption>
<thead><tr><th scope="col" data-sort="name">${table === 'functions' ? 'Function' : table === 'modules' ? 'Module' : 'Package'}</th><th scope="col" data-sort="own" aria-sort="descending">${isOne ? 'Own' : 'Own change'}</th><th scope="col" data-sort="total">${isOne ? 'Total' : 'Total change'}</th>${data.mode === 'two' && markup`<th scope="col">Before</th><th scope="col">After</th>`}</tr></thead>
<tbody>
${rows}</tbody></table></div>
<p class="count">${count}</p>
</section>`;
}
