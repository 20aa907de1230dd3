// The tables of the page: by function, by module, by package. The page makes them anew for another type, search or order.

import { type Markup, breakable, markup } from '../../html/markup.js';
import { type Amount, type Data, type Frame, type Kind, amountOf } from './data.js';
import { KINDS, change, figure, share } from './text.js';

export const TABLES = ['functions', 'modules', 'packages'] as const;
export type Table = (typeof TABLES)[number];

export type Column = 'name' | 'own' | 'total';

export interface Row {
  name: string;
  /** Where the function is; the whole path of the module. */
  detail: string;
  kind: Kind;
  /** Of the stacks in which this is the nearest to the allocation. */
  own: Amount;
  /** Of all stacks in which this is. */
  total: Amount;
}

/** No table has more rows. The search looks in all. */
export const MOST_ROWS = 100;

/** Which row a frame belongs to. */
const KEYS: Readonly<Record<Table, (frame: Frame) => string>> = {
  functions: ({ name, file }) => `${name}\n${file}`,
  modules: ({ file, module }) => file || module,
  packages: ({ group }) => group,
};

/** Who allocates, by whose code it is. Node's own functions and native code allocate for somebody. */
const NEAREST: readonly (readonly Kind[])[] = [['app', 'package'], ['node'], ['native']];

/** The frame that a stack's memory is accounted to. `stack` has the allocation first. */
export function nearest(stack: readonly Frame[]): Frame | undefined {
  for (const kinds of NEAREST) {
    const found = stack.find(({ kind }) => kinds.includes(kind));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The frames of the stack that ends in a node, the allocation first. */
export function stackOf({ nodes, frames }: Data, node: number): Frame[] {
  const stack: Frame[] = [];
  for (let at = node; at >= 0; at = nodes.parent[at]!) stack.push(frames[nodes.frame[at]!]!);
  return stack;
}

/** The rows of a table, without order. */
export function rowsOf(data: Data, type: number, table: Table): Row[] {
  const key = KEYS[table];
  const rows = new Map<string, Row>();
  const lines = new Map<string, Set<number>>();
  const rowOf = (frame: Frame): Row => {
    const name = key(frame);
    let row = rows.get(name);
    if (row === undefined) {
      row = { ...titles(table, frame), kind: frame.kind, own: nothing(), total: nothing() };
      rows.set(name, row);
      lines.set(name, new Set());
    }
    if (frame.line > 0) lines.get(name)!.add(frame.line);
    return row;
  };
  for (const [at, node] of data.stacks.node.entries()) {
    const amount = amountOf(data, type, at);
    if (amount.before === 0 && amount.after === 0) continue;
    const stack = stackOf(data, node);
    // A function that calls itself counts once.
    for (const row of new Set(stack.map(rowOf))) add(row.total, amount);
    const own = nearest(stack);
    if (own !== undefined) add(rowOf(own).own, amount);
  }
  if (table === 'functions')
    for (const [name, row] of rows) {
      const all = [...lines.get(name)!].sort((a, b) => a - b);
      if (all.length > 0 && row.detail !== '')
        row.detail += `:${all.slice(0, 3).join(', ')}${all.length > 3 ? ' …' : ''}`;
    }
  return [...rows.values()];
}

function titles(table: Table, { name, module, file, group, kind }: Frame): { name: string; detail: string } {
  if (table === 'functions') return { name, detail: module };
  if (table === 'packages') return { name: group, detail: '' };
  return { name: module || `(${KINDS[kind]})`, detail: file === module ? '' : file };
}

const nothing = (): Amount => ({ before: 0, after: 0 });

export function add(sum: Amount, { before, after }: Amount): void {
  sum.before += before;
  sum.after += after;
}

/** What a table sorts by and shows: the amount, or how much it changed. */
export const shownOf = ({ mode }: Data, { before, after }: Amount): number =>
  mode === 'one' ? after : after - before;

/** All stacks together. */
export function whole(data: Data, type: number): Amount {
  const sum = nothing();
  for (const at of data.stacks.node.keys()) add(sum, amountOf(data, type, at));
  return sum;
}

/** The largest first; in a comparison what grew most, and what shrank most last. */
export function sorted(data: Data, rows: readonly Row[], column: Column): Row[] {
  const by = (row: Row) => (column === 'name' ? 0 : shownOf(data, row[column]));
  const other = column === 'own' ? 'total' : 'own';
  return rows.toSorted(
    (a, b) =>
      by(b) - by(a) ||
      (column === 'name' ? 0 : shownOf(data, b[other]) - shownOf(data, a[other])) ||
      (a.name < b.name ? -1 : Number(a.name > b.name)),
  );
}

export const matches = (term: string, ...texts: readonly string[]): boolean =>
  texts.some((text) => text.toLowerCase().includes(term.toLowerCase()));

/** The rows as HTML, and what to say of those that are left out. */
export function body(
  data: Data,
  type: number,
  table: Table,
  { sort = 'own', search = '' }: { sort?: Column; search?: string } = {},
): { rows: Markup; count: string } {
  const all = rowsOf(data, type, table);
  const found = search === '' ? all : all.filter(({ name, detail }) => matches(search, name, detail));
  const sum = whole(data, type);
  const shown = sorted(data, found, sort).slice(0, MOST_ROWS);
  const rows = markup`${shown.map((row) => rowOf(data, type, row, sum))}`;
  const left = found.length - shown.length;
  const count = `${found.length}${search === '' ? '' : ` of ${all.length}`} ${all.length === 1 ? table.slice(0, -1) : table}${
    left > 0 ? `; the first ${MOST_ROWS} are shown` : ''
  }`;
  return { rows, count };
}

function rowOf(data: Data, type: number, row: Row, sum: Amount): Markup {
  const { name, detail, kind, own, total } = row;
  const title = markup`<th scope="row"><span class="dot ${kind}"></span><span class="name">${breakable(name)}</span>${
    detail !== '' && markup` <span class="detail">${breakable(detail)}</span>`
  } <span class="hidden">(${KINDS[kind]})</span></th>`;
  const unit = data.types[type]!;
  const cell = (amount: Amount) =>
    data.mode === 'one'
      ? markup`<td>${figure(amount.after, unit)} <span class="share">${share(amount.after, sum.after)}</span></td>`
      : markup`<td class="${grew(amount)}">${change(amount.after - amount.before, unit)}</td>`;
  const both =
    data.mode === 'two' &&
    markup`<td>${figure(total.before, unit)}</td><td>${figure(total.after, unit)}</td>`;
  return markup`<tr>${title}${cell(own)}${cell(total)}${both}</tr>\n`;
}

/** The class for a change. */
export function grew({ before, after }: Amount): string {
  return after > before ? 'more' : after < before ? 'less' : 'same';
}
