import { binding } from './native/loader.js';

/** The end of a message: `. Did you mean …?` if a name is similar to the word, otherwise `otherwise`. */
export function didYouMean(word: unknown, names: Iterable<string>, otherwise: string): string {
  const near = typeof word === 'string' ? nearest(word, [...names]) : null;
  return near === null ? otherwise : `. Did you mean ${near}?`;
}

function nearest(word: string, names: string[]): string | null {
  try {
    return binding().nearest(word, names);
  } catch {
    // A missing addon is a different error, and must not hide this one.
    return null;
  }
}
