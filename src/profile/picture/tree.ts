// The flame graph without a page: where each frame lies. The page's script draws it.

import { type Amount, type Data, amountOf } from './data.js';
import { add } from './tables.js';

/** A frame of the graph. */
export interface Box {
  /** A place in `nodes` of the data; -1 for the root, which is the whole. */
  node: number;
  /** The figures of all stacks through it. */
  amount: Amount;
  /** What it is as wide as: the amount, or the larger one of the two. */
  weight: number;
  /** The widest first. */
  children: Box[];
  parent: Box | undefined;
}

/** The boxes of one type. In a comparison each stack is as wide as the larger one of its two figures: so nothing is lost. */
export function boxesOf(data: Data, type: number): Box {
  const make = (node: number): Box => ({
    node,
    amount: { before: 0, after: 0 },
    weight: 0,
    children: [],
    parent: undefined,
  });
  const root = make(-1);
  const boxes = data.nodes.parent.map((_, node) => make(node));
  for (const [at, node] of data.stacks.node.entries()) {
    const amount = amountOf(data, type, at);
    const weight = Math.max(amount.before, amount.after);
    if (weight <= 0) continue;
    for (let each = node; each >= 0; each = data.nodes.parent[each]!) {
      add(boxes[each]!.amount, amount);
      boxes[each]!.weight += weight;
    }
    add(root.amount, amount);
    root.weight += weight;
  }
  for (const box of boxes) {
    if (box.weight === 0) continue;
    const above = data.nodes.parent[box.node]!;
    box.parent = above < 0 ? root : boxes[above]!;
    box.parent.children.push(box);
  }
  for (const box of [root, ...boxes]) box.children.sort((a, b) => b.weight - a.weight);
  return root;
}

/** A box at its place: from 0 to 1 from the left, and in rows from above. */
export interface Placed {
  box: Box;
  left: number;
  width: number;
  row: number;
}

/** The boxes below one that fills the width, and those above it. Boxes narrower than `least` are left out. */
export function place(top: Box, least: number): Placed[] {
  const above: Box[] = [];
  for (let box = top.parent; box !== undefined; box = box.parent) above.unshift(box);
  const placed: Placed[] = above.map((box, row) => ({ box, left: 0, width: 1, row }));
  // Without recursion: a stack can be deep.
  const waiting: Placed[] = [{ box: top, left: 0, width: 1, row: above.length }];
  for (let each = waiting.pop(); each !== undefined; each = waiting.pop()) {
    placed.push(each);
    const { box, width, row } = each;
    const next: Placed[] = [];
    let { left } = each;
    for (const child of box.children) {
      const its = box.weight === 0 ? 0 : (width * child.weight) / box.weight;
      // The others are narrower still.
      if (its < least) break;
      next.push({ box: child, left, width: its, row: row + 1 });
      left += its;
    }
    waiting.push(...next.reverse());
  }
  return placed;
}
