import { swatch } from './looks.js';
import { type Markup, breakable, markup } from '../../../html/markup.js';
import type { Row } from './rows.js';

/** More lines than these in one chart cannot be told apart: each subject then has a chart of its own. */
export const TOGETHER = 8;

/** The lines of a chart. Beside each name is room for the value at the cursor. */
export function legend(rows: readonly Row[]): Markup {
  return markup`<ul class="legend">${rows.map((row) => markup`<li data-s="${row.number}">${swatch(row.look)} <span class="name">${breakable(row.id)}</span> <span class="value" data-v="${row.number}"></span></li>`)}</ul>`;
}

/** Charts of single subjects, side by side. */
export function multiples(panels: readonly { row: Row; figures: string; chart: Markup }[]): Markup {
  return markup`<ul class="multiples">${panels.map(
    ({ row, figures, chart }) =>
      markup`<li><p><span class="name">${swatch(row.look)} ${breakable(row.id)}</span><span class="figures">${figures}</span> <span class="value" data-v="${row.number}"></span></p>${chart}</li>\n`,
  )}</ul>`;
}
