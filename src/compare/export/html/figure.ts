import { type Content, type Markup, markup } from '../../../html/markup.js';

export interface Figure {
  /** The part of the page's addresses: `memory`. */
  id: string;
  title: string;
  /** What the picture shows, in words: for everyone. */
  description: Content;
  chart: Content;
  /** The name of the table behind the chart, and the table. */
  table: { title: string; content: Content };
}

/** The ids of what names and what describes a chart. */
export const naming = (id: string): { labelledBy: string; describedBy: string } => ({
  labelledBy: `${id}-title`,
  describedBy: `${id}-text`,
});

/** A section with a chart, its description and its data. */
export function figure({ id, title, description, chart, table }: Figure): Markup {
  const { labelledBy, describedBy } = naming(id);
  return markup`<section id="${id}" aria-labelledby="${labelledBy}">
<h2 id="${labelledBy}">${title}</h2>
<figure>
<p id="${describedBy}" class="description">${description}</p>
${chart}
${disclosure(`Data: ${table.title}`, table.content)}
</figure>
</section>
`;
}

export function disclosure(summary: Content, content: Content): Markup {
  return markup`<details><summary>${summary}</summary>${content}</details>`;
}

export interface Table {
  /** The name, for a screen reader. */
  caption: string;
  head: readonly Content[];
  /** The first cell of each is its head. */
  body: readonly { cells: readonly Content[]; attributes?: Content }[];
  /** Columns of words, and of longer text, by their number. The others are numbers. */
  text?: readonly number[];
  long?: readonly number[];
}

/** A table that scrolls by itself where it is wider than the page. The keyboard scrolls it, too. */
export function scrollingTable({ caption, head, body, text = [], long = [] }: Table): Markup {
  const side = (at: number) =>
    (text.includes(at) && markup` class="text"`) || (long.includes(at) && markup` class="text long"`);
  return markup`<div class="scroll" role="region" tabindex="0" aria-label="${caption}">
<table><caption class="hidden">${caption}</caption>
<thead><tr>${head.map((cell, at) => markup`<th scope="col"${side(at)}>${cell}</th>`)}</tr></thead>
<tbody>
${body.map(({ cells, attributes }) => markup`<tr${attributes}>${cells.map((cell, at) => (at === 0 ? markup`<th scope="row">${cell}</th>` : markup`<td${side(at)}>${cell}</td>`))}</tr>\n`)}</tbody></table></div>`;
}

/** What a table shows where there is no figure. */
export const MISSING: Markup = markup`<span class="missing"><span aria-hidden="true">–</span><span class="hidden">not measured</span></span>`;
