// The flame graph: a tree for the keyboard and for screen readers, with its items where a flame graph has its frames.
//
// Not by a library: d3-flame-graph 5, the one that is kept, draws rectangles which have neither roles nor names, and which no key
// reaches; its colours know no dark page; a frame in its comparison says only by its colour that it grew; and it draws every frame,
// also those that cannot be seen. flame-chart-js paints on a canvas, speedscope and Grafana's flamegraph are whole programs.

import type { Amount, Data, Frame } from '../data.js';
import { add, grew, matches } from '../tables.js';
import { KINDS, change, figure, placeOf, share } from '../text.js';
import { type Box, type Placed, boxesOf, place } from '../tree.js';

interface Parts {
  tree: HTMLElement;
  details: HTMLElement;
  out: HTMLButtonElement;
  reset: HTMLButtonElement;
  status: HTMLElement;
}

/** In pixels. A finger needs the height; a narrower frame cannot be seen. */
const ROW = 24;
const NARROWEST = 3;
/** A narrower frame has no room for text. */
const LABELLED = 26;

const WHOLE: Frame = { name: 'all', kind: 'native', file: '', module: '', line: 0, group: '' };

interface Item extends Placed {
  element: HTMLElement;
}

export class Flame {
  readonly #data: Data;
  readonly #parts: Parts;
  #type = 0;
  #root: Box = { node: -1, amount: { before: 0, after: 0 }, weight: 0, children: [], parent: undefined };
  #top = this.#root;
  #term = '';
  #items = new Map<Box, Item>();
  readonly #boxes = new WeakMap<Element, Box>();
  #focused: Box | undefined;
  #width = 0;

  constructor(data: Data, parts: Parts) {
    this.#data = data;
    this.#parts = parts;
    const { tree, out, reset } = parts;
    tree.setAttribute('role', 'tree');
    tree.addEventListener('click', ({ target }) => {
      const box = this.#boxAt(target);
      if (box !== undefined) this.#zoom(box);
    });
    tree.addEventListener('pointerover', ({ target }) => {
      const box = this.#boxAt(target);
      if (box !== undefined) this.#describe(box);
    });
    tree.addEventListener('focusin', ({ target }) => {
      const box = this.#boxAt(target);
      if (box === undefined) return;
      this.#focused = box;
      this.#reachable();
      this.#describe(box);
    });
    tree.addEventListener('keydown', (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || !this.#key(event.key)) return;
      event.preventDefault();
    });
    out.addEventListener('click', () => this.#zoom(this.#top.parent ?? this.#root));
    reset.addEventListener('click', () => this.#zoom(this.#root));
    new ResizeObserver(() => {
      if (Math.abs(tree.clientWidth - this.#width) >= 1) this.#draw();
    }).observe(tree);
  }

  /** Draws the figures of a type, from the same place as far as it has any there. */
  show(type: number): void {
    this.#type = type;
    const node = this.#top.node;
    this.#root = boxesOf(this.#data, type);
    this.#top = this.#boxOf(node) ?? this.#root;
    this.#focused = undefined;
    this.#draw();
    this.#describe(this.#top);
  }

  /** Marks what matches, and says how much that is. */
  find(term: string): string {
    this.#term = term;
    this.#draw();
    if (term === '') return '';
    // What lies within a found frame is not counted again.
    const sum = { before: 0, after: 0 };
    let count = 0;
    const waiting: [box: Box, isWithin: boolean][] = [[this.#root, false]];
    for (let each = waiting.pop(); each !== undefined; each = waiting.pop()) {
      const [box, isWithin] = each;
      const isFound = this.#isFound(box);
      if (isFound) count += 1;
      if (isFound && !isWithin) add(sum, box.amount);
      for (const child of box.children) waiting.push([child, isWithin || isFound]);
    }
    if (count === 0) return `Nothing matches “${term}”.`;
    const frames = `${count} ${count === 1 ? 'frame matches' : 'frames match'}`;
    return `${frames}: ${this.#figures({ ...this.#root, amount: sum })}`;
  }

  #isFound({ node }: Box): boolean {
    const { name, module, group } = this.#frame(node);
    return this.#term !== '' && node >= 0 && matches(this.#term, name, module, group);
  }

  #frame(node: number): Frame {
    return node < 0 ? WHOLE : this.#data.frames[this.#data.nodes.frame[node]!]!;
  }

  #boxOf(node: number): Box | undefined {
    const path: number[] = [];
    for (let at = node; at >= 0; at = this.#data.nodes.parent[at]!) path.unshift(at);
    let box: Box | undefined = this.#root;
    for (const each of path) box = box?.children.find((child) => child.node === each);
    return box;
  }

  #boxAt(target: EventTarget | null): Box | undefined {
    const item = target instanceof Element ? target.closest('[role=treeitem]') : null;
    return item === null ? undefined : this.#boxes.get(item);
  }

  #zoom(box: Box): void {
    this.#top = box;
    this.#focused = box;
    this.#draw();
    this.#items.get(box)?.element.focus({ preventScroll: true });
    this.#describe(box);
    const { name } = this.#frame(box.node);
    this.#parts.status.textContent = box.parent === undefined ? 'The whole graph' : `Zoomed to ${name}`;
  }

  /** Whether the key means something in the tree. */
  #key(key: string): boolean {
    const box = this.#focused ?? this.#top;
    if (key === 'Enter' || key === ' ') {
      this.#zoom(box);
      return true;
    }
    if (key === 'Escape' || key === 'Backspace') {
      this.#zoom(this.#top.parent ?? this.#root);
      return true;
    }
    const next = this.#next(box, key);
    if (next === undefined) return false;
    this.#items.get(next)?.element.focus();
    return true;
  }

  #next(box: Box, key: string): Box | undefined {
    const shown = (one: Box | undefined) => (one !== undefined && this.#items.has(one) ? one : undefined);
    if (key === 'ArrowUp') return shown(box.parent) ?? box;
    if (key === 'ArrowDown') return shown(box.children[0]) ?? box;
    if (key === 'Home') return this.#root;
    if (key === 'End') {
      let last = box;
      for (let child = shown(last.children[0]); child !== undefined; child = shown(last.children[0]))
        last = child;
      return last;
    }
    if (key !== 'ArrowLeft' && key !== 'ArrowRight') return undefined;
    const own = this.#items.get(box);
    const row = [...this.#items.values()]
      .filter((item) => item.row === own?.row)
      .sort((a, b) => a.left - b.left);
    const at = row.findIndex((item) => item.box === box);
    return (row[at + (key === 'ArrowLeft' ? -1 : 1)] ?? row[at])?.box ?? box;
  }

  /** The keyboard enters the tree at one place. */
  #reachable(): void {
    const at = this.#focused !== undefined && this.#items.has(this.#focused) ? this.#focused : this.#top;
    for (const [box, { element }] of this.#items) element.tabIndex = box === at ? 0 : -1;
  }

  #draw(): void {
    const { tree, out, reset } = this.#parts;
    const hadFocus = tree.contains(document.activeElement);
    this.#width = tree.clientWidth;
    const placed = place(this.#top, NARROWEST / Math.max(1, this.#width));
    this.#items = new Map(placed.map((each) => [each.box, { ...each, element: this.#item(each) }]));
    tree.replaceChildren(...[...this.#items.values()].map(({ element }) => element));
    tree.style.height = `${(placed.reduce((most, { row }) => Math.max(most, row), 0) + 1) * ROW}px`;
    this.#reachable();
    if (hadFocus) this.#items.get(this.#focused ?? this.#top)?.element.focus({ preventScroll: true });
    out.disabled = reset.disabled = this.#top.parent === undefined;
  }

  #item({ box, left, width, row }: Placed): HTMLElement {
    const item = document.createElement('div');
    const frame = this.#frame(box.node);
    const classes = [
      'frame',
      this.#data.mode === 'one' || box.node < 0 ? (box.node < 0 ? 'all' : frame.kind) : this.#grade(box),
    ];
    if (row < this.#depthOfTop()) classes.push('above');
    const isFound = this.#isFound(box);
    if (isFound) classes.push('found');
    item.className = classes.join(' ');
    item.setAttribute('role', 'treeitem');
    item.setAttribute('aria-level', String(row + 1));
    const siblings = box.parent?.children ?? [box];
    item.setAttribute('aria-setsize', String(siblings.length));
    item.setAttribute('aria-posinset', String(siblings.indexOf(box) + 1));
    const text = this.#text(box);
    item.setAttribute(
      'aria-label',
      [
        text,
        placeOf(frame),
        this.#more(box),
        box.node >= 0 && KINDS[frame.kind],
        isFound && 'matches the search',
      ]
        .filter(Boolean)
        .join(', '),
    );
    this.#boxes.set(item, box);
    item.style.left = `${left * 100}%`;
    item.style.width = `${width * 100}%`;
    item.style.top = `${row * ROW}px`;
    if (width * this.#width >= LABELLED) item.textContent = text;
    return item;
  }

  #depthOfTop(): number {
    let depth = 0;
    for (let box = this.#top.parent; box !== undefined; box = box.parent) depth += 1;
    return depth;
  }

  /** How much of it changed, in three grades. */
  #grade({ amount, weight }: Box): string {
    const part = weight === 0 ? 0 : Math.abs(amount.after - amount.before) / weight;
    if (part < 0.005) return 'same';
    return `${grew(amount)}-${part < 1 / 3 ? 1 : part < 2 / 3 ? 2 : 3}`;
  }

  /** What a frame shows. In a comparison it begins with the change, so that the colour is not all that says so. */
  #text({ node, amount }: Box): string {
    const { name } = this.#frame(node);
    return this.#data.mode === 'one' ? name : `${this.#change(amount)} ${name}`;
  }

  /** What there is to say beside that. */
  #more({ amount: { before, after } }: Box): string {
    const type = this.#data.types[this.#type]!;
    const { mode } = this.#data;
    if (mode === 'one') return `${figure(after, type)}, ${share(after, this.#root.amount.after)}`;
    return mode === 'two' ? `from ${figure(before, type)} to ${figure(after, type)}` : '';
  }

  #change({ before, after }: Amount): string {
    return change(after - before, this.#data.types[this.#type]!);
  }

  #figures(box: Box): string {
    const changed = this.#data.mode === 'one' ? '' : this.#change(box.amount);
    return [changed, this.#more(box)].filter(Boolean).join(', ');
  }

  #describe(box: Box): void {
    const frame = this.#frame(box.node);
    const line = (text: string, name: string) => {
      const made = document.createElement('p');
      made.className = name;
      made.textContent = text;
      return made;
    };
    const where = frame.file === '' ? '' : frame.line > 0 ? `${frame.file}:${frame.line}` : frame.file;
    const kind = box.node < 0 ? 'All stacks' : frame.group;
    this.#parts.details.replaceChildren(
      line(frame.name, 'what'),
      line(this.#figures(box), 'figures'),
      line([kind, where].filter(Boolean).join(' · '), 'where'),
    );
  }
}
