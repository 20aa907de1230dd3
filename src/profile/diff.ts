import { MallocBackendError } from '../errors.js';
import {
  type Called,
  type Label,
  type Location,
  type Mapping,
  type Profile,
  type Sample,
  type ValueType,
  readProfile,
  writeProfile,
} from './pprof.js';

/**
 * The difference of two heap profiles: each stack with what `after` has more than `before`. What became less is negative.
 * `go tool pprof`, speedscope and `heapProfile.html` read the result.
 *
 * @param before - Bytes of `heapProfile.stop()` or `.snapshot()`, or of a file in pprof format.
 * @param after - The later ones, or those of another process that does the same.
 * @returns A profile in pprof format, compressed.
 * @throws {@link MallocBackendError} `ERR_PROFILE_INVALID`: they are no profiles, or of different kinds. `ERR_INVALID_ARGUMENT`.
 */
export function diff(before: Uint8Array, after: Uint8Array): Uint8Array {
  const [first, second] = [
    readProfile(before, 'the profile before'),
    readProfile(after, 'the profile after'),
  ];
  requireSameTypes(first, second);
  const same = new Same();
  const samples = new Map<
    string,
    { stack: readonly Location[]; labels: readonly Label[]; values: number[] }
  >();
  for (const [profile, sign] of [
    [second, 1],
    [first, -1],
  ] as const)
    for (const { stack, labels, values } of profile.samples) {
      const one = stack.map((each) => same.location(each));
      const key = JSON.stringify([one.map((each) => same.number(each)), labels]);
      const entry = samples.get(key) ?? { stack: one, labels, values: values.map(() => 0) };
      samples.set(key, entry);
      for (const [at, value] of values.entries()) entry.values[at]! += sign * value;
    }
  const changed: Sample[] = [...samples.values()].filter(({ values }) => values.some((value) => value !== 0));
  // Two snapshots of one profile: the difference is of the time between them.
  const isSame = first.time - first.duration === second.time - second.duration;
  const duration = isSame ? second.time - first.time : second.duration;
  return writeProfile({ ...second, duration, samples: changed });
}

/** Throws if the values of one profile are not those of the other. */
export function requireSameTypes(first: Profile, second: Profile): void {
  const [one, other] = [named(first.sampleTypes), named(second.sampleTypes)];
  if (one === other) return;
  throw new MallocBackendError(
    'ERR_PROFILE_INVALID',
    `the two profiles are of different kinds: one has ${one}, and the other one has ${other}; compare profiles of one profiler`,
  );
}

const named = (types: readonly ValueType[]): string =>
  types.map(({ type, unit }) => `${type} (${unit})`).join(', ');

/**
 * Finds what is the same in two profiles: the numbers differ, and so do the addresses at which two processes have the same
 * file.
 */
export class Same {
  readonly #locations = new Map<string, Location>();
  readonly #mappings = new Map<string, Mapping>();
  readonly #functions = new Map<string, Called>();
  readonly #known = new Map<Location, Location>();
  readonly #numbers = new Map<Location, number>();

  location(given: Location): Location {
    const known = this.#known.get(given);
    if (known !== undefined) return known;
    const { lines, isFolded } = given;
    const mapping =
      given.mapping &&
      one(
        this.#mappings,
        [given.mapping.file, given.mapping.buildId, String(given.mapping.offset)],
        given.mapping,
      );
    // Where the file is mapped differs from process to process.
    const address = given.address - (given.mapping?.start ?? 0n) + (mapping?.start ?? 0n);
    const own = lines.map((line) => {
      const { name, systemName, file, startLine } = line.function;
      return { ...line, function: one(this.#functions, [name, systemName, file, startLine], line.function) };
    });
    const place =
      own.length > 0
        ? own.map(({ function: { name, file }, line, column }) => [name, file, line, column])
        : String(address);
    const key = [mapping?.file ?? '', mapping?.buildId ?? '', String(mapping?.offset ?? 0n), place];
    const found = one(this.#locations, key, { mapping, address, lines: own, isFolded });
    this.#known.set(given, found);
    if (!this.#numbers.has(found)) this.#numbers.set(found, this.#numbers.size);
    return found;
  }

  /** A number for what {@link Same.location} gave. */
  number(location: Location): number {
    return this.#numbers.get(location)!;
  }
}

function one<Value>(table: Map<string, Value>, key: unknown, value: Value): Value {
  const name = JSON.stringify(key);
  const found = table.get(name);
  if (found !== undefined) return found;
  table.set(name, value);
  return value;
}
