import { binding } from './native/loader.js';

/** `. Did you mean …?` where a name is near to the word, and else the other end of the message. */
export function didYouMean(word: unknown, names: Iterable<string>, otherwise: string): string {
  const near = typeof word === 'string' ? nearest(word, [...names]) : null;
  return near === null ? otherwise : `. Did you mean ${near}?`;
}

function nearest(word: string, names: string[]): string | null {
  try {
    return binding().nearest(word, names);
  } catch {
    // That there is no addon is not what is wrong here.
    return null;
  }
}
