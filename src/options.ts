// Objects of options. A misspelt option would go unnoticed and do nothing, so an unknown option is an error.

import { invalidArgument, MallocBackendError, shown } from './errors.js';
import { didYouMean } from './nearest.js';

/** The names that an object of options may have. */
export type OptionNames = ReadonlySet<string>;

/** The names of all options. The compiler checks that no name is missing. */
export function namesOf<Options>(names: Record<keyof Options & string, true>): OptionNames {
  return new Set(Object.keys(names));
}

/** Throws unless the value is an object with known options only. */
export function requireOptions(options: unknown, known: OptionNames): asserts options is object {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument(`options must be an object, not ${shown(options)}`);
  }
  // Faster than Object.keys. Inherited properties are no mistake of the caller.
  for (const name in options) {
    if (!known.has(name) && Object.hasOwn(options, name)) throw unknownOption(name, known);
  }
}

/** {@link requireOptions}, but undefined is allowed. */
export function checkOptions(options: unknown, known: OptionNames): void {
  if (options !== undefined) requireOptions(options, known);
}

/** The error for an unknown option. */
export function unknownOption(name: string, known: OptionNames): MallocBackendError {
  return invalidArgument(
    `unknown option ${shown(name)}${didYouMean(name, known, '.')} The options are: ${[...known].join(', ')}`,
  );
}
