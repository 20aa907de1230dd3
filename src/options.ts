// Objects of options. One that is misspelt would do nothing and say nothing: what is not known is refused.

import { MallocBackendError, shown } from './errors.js';
import { didYouMean } from './nearest.js';

/** The names that an object of options may have. */
export type OptionNames = ReadonlySet<string>;

/** All names of the options: the compiler sees that none is missing. */
export function namesOf<Options>(names: Record<keyof Options & string, true>): OptionNames {
  return new Set(Object.keys(names));
}

/** An object, and of known options. */
export function requireOptions(options: unknown, known: OptionNames): asserts options is object {
  if (typeof options !== 'object' || options === null) {
    throw new MallocBackendError('ERR_INVALID_ARGUMENT', `options must be an object, not ${shown(options)}`);
  }
  // Faster than Object.keys; what is inherited is nobody's mistake here.
  for (const name in options) {
    if (!known.has(name) && Object.hasOwn(options, name)) throw unknownOption(name, known);
  }
}

/** The same, where undefined is none. */
export function checkOptions(options: unknown, known: OptionNames): void {
  if (options !== undefined) requireOptions(options, known);
}

/** The error for it. */
export function unknownOption(name: string, known: OptionNames): MallocBackendError {
  return new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    `unknown option ${shown(name)}${didYouMean(name, known, '.')} The options are: ${[...known].join(', ')}`,
  );
}
