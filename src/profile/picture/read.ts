import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Same, requireSameTypes } from '../diff.js';
import type { Line, Location, Profile, ValueType } from '../pprof.js';
import type { Data, Frame, Kind, Type } from './data.js';

/** What the page shows of a profile, against an earlier one if there is one. */
export function dataOf(profile: Profile, against?: Profile): Data {
  if (against !== undefined) requireSameTypes(against, profile);
  const types = profile.sampleTypes.map(typeOf);
  const zeros = () => types.map((): number[] => []);
  const [same, frames, tree] = [new Same(), new Frames(), new Tree()];
  const stacks = { node: [] as number[], after: zeros(), ...(against && { before: zeros() }) };
  const places = new Map<number, number>();
  for (const [which, source] of [
    ['after', profile],
    ['before', against],
  ] as const)
    for (const { stack, values } of source?.samples ?? []) {
      let node = -1;
      for (const location of stack.toReversed())
        for (const frame of frames.of(same.location(location))) node = tree.child(node, frame);
      // A stack without any frame has nothing to be drawn at.
      if (node < 0) node = tree.child(node, frames.none());
      let at = places.get(node);
      if (at === undefined) {
        at = stacks.node.push(node) - 1;
        places.set(node, at);
        for (const all of [stacks.after, stacks.before ?? []]) for (const each of all) each.push(0);
      }
      for (const [type, value] of values.entries()) stacks[which]![type]![at]! += value;
    }
  const isChange = against === undefined && stacks.after.some((all) => all.some((value) => value < 0));
  return {
    mode: isChange ? 'changes' : against === undefined ? 'one' : 'two',
    types,
    first: firstOf(profile),
    frames: frames.finish(),
    nodes: { parent: tree.parent, frame: tree.frame },
    stacks,
  };
}

function firstOf({ sampleTypes, defaultType }: Profile): number {
  const at = (name: string) => sampleTypes.findIndex(({ type }) => type === name);
  return [at('inuse_space'), at(defaultType)].find((found) => found >= 0) ?? sampleTypes.length - 1;
}

const TITLES: Readonly<Record<string, string>> = {
  inuse_space: 'Memory in use',
  inuse_objects: 'Blocks in use',
  alloc_space: 'Memory allocated',
  alloc_objects: 'Blocks allocated',
};

const typeOf = ({ type, unit }: ValueType): Type => ({
  type,
  unit,
  title: TITLES[type] ?? (type || unit || 'Figures'),
});

/** The nodes in the order in which they are made. */
class Tree {
  readonly parent: number[] = [];
  readonly frame: number[] = [];
  readonly #children = new Map<string, number>();

  child(parent: number, frame: number): number {
    const key = `${parent} ${frame}`;
    let node = this.#children.get(key);
    if (node === undefined) {
      node = this.parent.push(parent) - 1;
      this.frame.push(frame);
      this.#children.set(key, node);
    }
    return node;
  }
}

/** A file of a script, which V8 or Python runs. Beside that: what has a file and lies in no mapped file is none of native code. */
const SCRIPT = /^(?:node:|file:|wasm:|webpack|evalmachine\.<)|\.(?:[cm]?[jt]sx?|pyx?)$/;

class Frames {
  readonly #frames: Frame[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #known = new Map<Location, number[]>();

  /** The frames at a location, the outermost first: a function, and what is inlined into it. */
  of(location: Location): number[] {
    let known = this.#known.get(location);
    if (known === undefined) {
      known =
        location.lines.length === 0
          ? [this.#number(unnamed(location))]
          : location.lines.toReversed().map((line) => this.#number(named(line, location)));
      this.#known.set(location, known);
    }
    return known;
  }

  none(): number {
    return this.#number({ name: '(no stack)', kind: 'native', file: '', module: '', line: 0, group: NATIVE });
  }

  #number(frame: Frame): number {
    const key = JSON.stringify([frame.name, frame.file, frame.line]);
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#frames.push(frame) - 1;
      this.#numbers.set(key, number);
    }
    return number;
  }

  /** All frames, with short names for the files. */
  finish(): Frame[] {
    const own = this.#frames.filter(({ kind, file }) => kind === 'app' && file.startsWith('/'));
    const folder = commonFolder([
      ...own.map(({ file }) => posix.dirname(file)),
      ...this.#frames
        .filter(({ file }) => file.includes('/node_modules/'))
        .map(({ file }) => file.slice(0, file.indexOf('/node_modules/'))),
    ]);
    return this.#frames.map((frame) => ({ ...frame, module: moduleOf(frame, folder) }));
  }
}

/** The native code that is in no package: of Node, V8, the C library. */
const NATIVE = 'Native code of Node and the system';

function named({ function: called, line }: Line, { mapping }: Location): Frame {
  const isScript = SCRIPT.test(called.file) || (mapping === undefined && called.file !== '');
  const file = isScript ? pathOf(called.file) : (mapping?.file ?? called.file);
  const name = called.name || called.systemName || '(anonymous)';
  return { name, ...ownerOf(file, isScript), file, module: file, line: isScript ? line : 0 };
}

function unnamed({ mapping, address }: Location): Frame {
  const [file, offset] = [mapping?.file ?? '', address - (mapping?.start ?? 0n) + (mapping?.offset ?? 0n)];
  const name = `${posix.basename(file)}${file === '' ? '' : '+'}0x${offset.toString(16)}`;
  return { name, ...ownerOf(file, false), file, module: file, line: 0 };
}

/** Whose code it is, by its file. */
function ownerOf(file: string, isScript: boolean): { kind: Kind; group: string } {
  const [, installed] =
    /.*\/(?:node_modules|site-packages|dist-packages)\/((?:@[^/]+\/)?[^/]+)/s.exec(file) ?? [];
  if (installed !== undefined) return { kind: isScript ? 'package' : 'native', group: installed };
  if (!isScript) return { kind: 'native', group: NATIVE };
  // V8's own functions, such as Promise, have no file.
  if (file.startsWith('node:') || file === '(v8)') return { kind: 'node', group: 'Node.js' };
  if (/\/lib\/python3[^/]*\//.test(file)) return { kind: 'package', group: 'Python' };
  return { kind: 'app', group: 'Your code' };
}

function pathOf(file: string): string {
  if (!file.startsWith('file://')) return file;
  try {
    return fileURLToPath(file);
  } catch {
    // An address of another system, or none.
    return file;
  }
}

function commonFolder(folders: readonly string[]): string {
  const [first = '', ...others] = folders;
  let parts = first.split('/');
  for (const other of others) {
    const its = other.split('/');
    const differs = parts.findIndex((part, at) => part !== its[at]);
    if (differs >= 0) parts = parts.slice(0, differs);
  }
  return `${parts.join('/')}/`;
}

function moduleOf({ file, kind }: Frame, folder: string): string {
  if (kind === 'native') return posix.basename(file);
  const installed = file.lastIndexOf('/node_modules/');
  if (installed >= 0) return file.slice(installed + '/node_modules/'.length);
  return folder.length > 1 && file.startsWith(folder) ? file.slice(folder.length) : file;
}
