// What the page knows of a profile: the profile as a tree, without what a picture does not show. The page holds it as JSON.

/** Whose code a frame is. */
export type Kind = 'app' | 'package' | 'node' | 'native';

/** The same function at the same place, in all stacks. */
export interface Frame {
  name: string;
  kind: Kind;
  /** The source file, or the mapped file of native code. Empty where it is not known. */
  file: string;
  /** A short form of `file`: without the folder of the program. */
  module: string;
  /** 0 where it is not known. */
  line: number;
  /** What the frame counts as in the table of packages. */
  group: string;
}

/** A type of figures, such as `inuse_space`. */
export interface Type {
  type: string;
  unit: string;
  /** For people. */
  title: string;
}

export interface Data {
  /**
   * - `one`: a profile
   * - `two`: a profile against an earlier one
   * - `changes`: a profile whose figures are differences already
   */
  mode: 'one' | 'two' | 'changes';
  types: Type[];
  /** The type to show first. */
  first: number;
  frames: Frame[];
  /** The tree, from the outermost functions. Each node's parent comes before it, and is -1 for an outermost function. */
  nodes: { parent: number[]; frame: number[] };
  /** The stacks, by their innermost nodes, with a figure for each type. */
  stacks: { node: number[]; after: number[][]; before?: number[][] };
}

/** The figures of one type for a stack, a frame or a row. In `one`, `before` is 0. */
export interface Amount {
  before: number;
  after: number;
}

/** The figures of the stack at a place. */
export function amountOf({ stacks, mode }: Data, type: number, at: number): Amount {
  const after = stacks.after[type]![at]!;
  // Where only the difference is known, it stands for itself.
  if (mode === 'changes') return { before: Math.max(0, -after), after: Math.max(0, after) };
  return { before: stacks.before?.[type]![at] ?? 0, after };
}
