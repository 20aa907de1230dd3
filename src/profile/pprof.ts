// Profiles in pprof format (https://github.com/google/pprof/blob/main/proto/profile.proto), as objects.

import { gunzipSync, gzipSync } from 'node:zlib';
import { MallocBackendError, invalidArgument, shown } from '../errors.js';
import { Reader, Writer } from './protobuf.js';

export interface Profile {
  sampleTypes: ValueType[];
  /** The type that a viewer shows first. Empty for the last one. */
  defaultType: string;
  samples: Sample[];
  /** When it was made, in nanoseconds since 1970. 0 where that is not known. */
  time: bigint;
  /** In nanoseconds. */
  duration: bigint;
  periodType: ValueType | undefined;
  /** How much lies between two samples on the average. */
  period: number;
  comments: string[];
}

/** Such as `inuse_space` in `bytes`. */
export interface ValueType {
  type: string;
  unit: string;
}

export interface Sample {
  /** The allocation first. */
  stack: readonly Location[];
  /** One for each type. */
  values: readonly number[];
  labels: readonly Label[];
}

export interface Label {
  key: string;
  text: string;
  number: number;
  unit: string;
}

export interface Location {
  mapping: Mapping | undefined;
  address: bigint;
  /** The function, behind those that are inlined into it. None where it has no name. */
  lines: readonly Line[];
  isFolded: boolean;
}

export interface Line {
  function: Called;
  line: number;
  column: number;
}

export interface Called {
  name: string;
  systemName: string;
  file: string;
  startLine: number;
}

/** A file that is mapped into the process. */
export interface Mapping {
  start: bigint;
  limit: bigint;
  offset: bigint;
  file: string;
  buildId: string;
  /** Functions, file names, line numbers, inlined frames: whether the profile has them. */
  has: readonly [boolean, boolean, boolean, boolean];
}

/** A file of this size has no profile in it that could be drawn. */
const MOST_BYTES = 2 ** 30;

const REMEDY = '; pass what heapProfile.stop() gives, or a file of "malloc-backend profile -o"';

/**
 * Reads a profile, compressed or not. `name` is what an error calls it.
 *
 * @throws {@link MallocBackendError} `ERR_PROFILE_INVALID`
 */
export function readProfile(bytes: Uint8Array, name = 'the profile'): Profile {
  if (!(bytes instanceof Uint8Array))
    throw invalidArgument(`${name} must be a Uint8Array, not ${shown(bytes)}${REMEDY}`);
  try {
    const isCompressed = bytes[0] === 0x1f && bytes[1] === 0x8b;
    return parsed(isCompressed ? gunzipSync(bytes, { maxOutputLength: MOST_BYTES }) : bytes);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MallocBackendError(
      'ERR_PROFILE_INVALID',
      `${name} is no profile in pprof format: ${why}${REMEDY}`,
      { cause },
    );
  }
}

/** The raw tables, whose entries refer to one another by numbers. */
interface Tables {
  strings: string[];
  mappings: Map<number, Mapping>;
  functions: Map<number, Called>;
  locations: Map<number, Location>;
}

/** The fields of a profile that are messages or text. All others are numbers. */
const BYTES = [1, 2, 3, 4, 5, 6, 11];

function parsed(bytes: Uint8Array): Profile {
  const tables: Tables = {
    strings: [],
    mappings: new Map(),
    functions: new Map(),
    locations: new Map(),
  };
  // The tables come after what refers to them.
  const later: Record<'types' | 'samples' | 'mappings' | 'locations' | 'functions' | 'periods', Reader[]> = {
    types: [],
    samples: [],
    mappings: [],
    locations: [],
    functions: [],
    periods: [],
  };
  const comments: number[] = [];
  let [defaultType, time, duration, period] = [0, 0n, 0n, 0];
  const reader = new Reader(bytes);
  for (let next = reader.next(); next !== undefined; next = reader.next()) {
    const { field, wire } = next;
    if (wire !== (BYTES.includes(field) ? 'bytes' : 'varint') && field < 16 && field !== 13)
      throw new RangeError(`its field ${field} is of another kind`);
    if (field === 1) later.types.push(reader.message());
    else if (field === 2) later.samples.push(reader.message());
    else if (field === 3) later.mappings.push(reader.message());
    else if (field === 4) later.locations.push(reader.message());
    else if (field === 5) later.functions.push(reader.message());
    else if (field === 6) tables.strings.push(reader.text());
    else if (field === 9) time = reader.big();
    else if (field === 10) duration = reader.big();
    else if (field === 11) later.periods.push(reader.message());
    else if (field === 12) period = reader.number();
    else if (field === 13) reader.numbers(wire, comments);
    else if (field === 14) defaultType = reader.number();
    else reader.skip(wire);
  }
  const text = (at: number) => textAt(tables.strings, at);
  if (later.types.length === 0) throw new RangeError('it has no sample types');
  const sampleTypes = later.types.map((each) => valueType(each, text));
  for (const each of later.mappings) mapping(each, tables, text);
  for (const each of later.functions) called(each, tables, text);
  for (const each of later.locations) location(each, tables);
  return {
    sampleTypes,
    defaultType: text(defaultType),
    samples: later.samples.map((each) => sample(each, tables, sampleTypes.length, text)),
    time,
    duration,
    periodType: later.periods[0] && valueType(later.periods[0], text),
    period,
    comments: comments.map(text),
  };
}

function textAt(strings: readonly string[], at: number): string {
  // A file without any text has no table either.
  const found = strings[at] ?? (at === 0 ? '' : undefined);
  if (found === undefined) throw new RangeError(`it refers to text ${at}, which it does not have`);
  return found;
}

function entry<Value>(table: ReadonlyMap<number, Value>, id: number, what: string): Value {
  const found = table.get(id);
  if (found === undefined) throw new RangeError(`it refers to ${what} ${id}, which it does not have`);
  return found;
}

type Text = (at: number) => string;

/** The numbers in a message, by field. What is not there is 0. */
function numbersOf(reader: Reader, others?: (field: number, wire: 'bytes' | 'varint') => boolean): number[] {
  const values: number[] = Array.from({ length: 16 }, () => 0);
  for (let next = reader.next(); next !== undefined; next = reader.next()) {
    const { field, wire } = next;
    if ((wire === 'bytes' || wire === 'varint') && others?.(field, wire)) continue;
    if (wire === 'varint' && field < values.length) values[field] = reader.number();
    else reader.skip(wire);
  }
  return values;
}

function valueType(reader: Reader, text: Text): ValueType {
  const [, type = 0, unit = 0] = numbersOf(reader);
  return { type: text(type), unit: text(unit) };
}

function mapping(reader: Reader, { mappings }: Tables, text: Text): void {
  const addresses = [0n, 0n, 0n];
  const values = numbersOf(reader, (field, wire) => {
    if (field < 2 || field > 4 || wire !== 'varint') return false;
    addresses[field - 2] = reader.big();
    return true;
  });
  const [, id = 0, , , , file = 0, buildId = 0] = values;
  const [start = 0n, limit = 0n, offset = 0n] = addresses;
  const flag = (field: number) => values[field] !== 0;
  const has = [flag(7), flag(8), flag(9), flag(10)] as const;
  mappings.set(id, { start, limit, offset, file: text(file), buildId: text(buildId), has });
}

function called(reader: Reader, { functions }: Tables, text: Text): void {
  const [, id = 0, name = 0, systemName = 0, file = 0, startLine = 0] = numbersOf(reader);
  functions.set(id, { name: text(name), systemName: text(systemName), file: text(file), startLine });
}

function location(reader: Reader, { locations, mappings, functions }: Tables): void {
  let address = 0n;
  const lines: Line[] = [];
  const [, id = 0, mappingId = 0, , , isFolded] = numbersOf(reader, (field, wire) => {
    if (field === 3 && wire === 'varint') {
      address = reader.big();
      return true;
    }
    if (field !== 4 || wire !== 'bytes') return false;
    const [, functionId = 0, line = 0, column = 0] = numbersOf(reader.message());
    lines.push({ function: entry(functions, functionId, 'function'), line, column });
    return true;
  });
  const from = mappingId === 0 ? undefined : entry(mappings, mappingId, 'mapping');
  locations.set(id, { mapping: from, address, lines, isFolded: isFolded !== 0 });
}

function sample(reader: Reader, { locations }: Tables, types: number, text: Text): Sample {
  const ids: number[] = [];
  const values: number[] = [];
  const labels: Label[] = [];
  numbersOf(reader, (field, wire) => {
    if (field === 1) reader.numbers(wire, ids);
    else if (field === 2) reader.numbers(wire, values);
    else if (field === 3 && wire === 'bytes') {
      const [, key = 0, string = 0, number = 0, unit = 0] = numbersOf(reader.message());
      labels.push({ key: text(key), text: text(string), number, unit: text(unit) });
    } else return false;
    return true;
  });
  if (values.length !== types)
    throw new RangeError(`it has ${types} sample types, and a sample with ${values.length} values`);
  return { stack: ids.map((id) => entry(locations, id, 'location')), values, labels };
}

/** Gives each different object a number from 1 on, and keeps them in order. */
class Interned<Value> {
  readonly values: Value[] = [];
  readonly #ids = new Map<Value, number>();

  id(value: Value): number {
    let id = this.#ids.get(value);
    if (id === undefined) {
      id = this.values.push(value);
      this.#ids.set(value, id);
    }
    return id;
  }
}

/** The profile as bytes, compressed. */
export function writeProfile(profile: Profile): Uint8Array {
  // The first text is the empty one, and texts count from 0.
  const strings = new Interned<string>();
  const text = (value: string) => strings.id(value) - 1;
  text('');
  const [locations, mappings, functions] = [
    new Interned<Location>(),
    new Interned<Mapping>(),
    new Interned<Called>(),
  ];
  const writer = new Writer();
  const message = (field: number, fill: (inner: Writer) => void, to = writer) => {
    const inner = new Writer();
    fill(inner);
    to.bytes(field, inner.finish());
  };
  const valueTypeTo =
    ({ type, unit }: ValueType) =>
    (inner: Writer) => {
      inner.number(1, text(type));
      inner.number(2, text(unit));
    };
  for (const each of profile.sampleTypes) message(1, valueTypeTo(each));
  for (const { stack, values, labels } of profile.samples)
    message(2, (inner) => {
      inner.numbers(
        1,
        stack.map((each) => locations.id(each)),
      );
      inner.numbers(2, values);
      for (const label of labels)
        message(
          3,
          (to) => {
            to.number(1, text(label.key));
            to.number(2, text(label.text));
            to.number(3, label.number);
            to.number(4, text(label.unit));
          },
          inner,
        );
    });
  for (const [at, { mapping: from, address, lines, isFolded }] of locations.values.entries())
    message(4, (inner) => {
      inner.number(1, at + 1);
      inner.number(2, from === undefined ? 0 : mappings.id(from));
      inner.number(3, address);
      for (const line of lines)
        message(
          4,
          (to) => {
            to.number(1, functions.id(line.function));
            to.number(2, line.line);
            to.number(3, line.column);
          },
          inner,
        );
      inner.number(5, isFolded);
    });
  for (const [at, { start, limit, offset, file, buildId, has }] of mappings.values.entries())
    message(3, (inner) => {
      for (const [index, value] of [
        at + 1,
        start,
        limit,
        offset,
        text(file),
        text(buildId),
        ...has,
      ].entries())
        inner.number(index + 1, value);
    });
  for (const [at, { name, systemName, file, startLine }] of functions.values.entries())
    message(5, (inner) => {
      for (const [index, value] of [at + 1, text(name), text(systemName), text(file), startLine].entries())
        inner.number(index + 1, value);
    });
  writer.number(9, profile.time);
  writer.number(10, profile.duration);
  if (profile.periodType !== undefined) message(11, valueTypeTo(profile.periodType));
  writer.number(12, profile.period);
  writer.numbers(
    13,
    profile.comments.map((each) => text(each)),
  );
  writer.number(14, text(profile.defaultType));
  for (const each of strings.values) writer.bytes(6, Buffer.from(each));
  return gzipSync(writer.finish());
}
