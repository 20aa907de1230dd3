import type { ParseArgsConfig } from 'node:util';

type Options = NonNullable<ParseArgsConfig['options']>;

/** Ours end at `--`, or at the second word that is no option and no option's value: there the program's begin. */
export function split(args: readonly string[], options: Options): [own: string[], program: string[]] {
  let backend = false;
  for (let at = 0; at < args.length; at++) {
    const word = args[at] ?? '';
    if (word === '--') return [args.slice(0, at), args.slice(at + 1)];
    if (word.startsWith('--')) {
      if (options[word.slice(2)]?.type === 'string') at += 1;
    } else if (backend) {
      return [args.slice(0, at), args.slice(at)];
    } else {
      backend = true;
    }
  }
  return [[...args], []];
}
