import { types } from 'node:util';
import { MallocBackendError } from '../errors.js';

/**
 * A value that can go to Python and come from Python. To Python: null becomes `None`. Integers up to 2^53 - 1 and bigints
 * become `int`, and other numbers become `float`. Strings become `str`. Buffers, typed arrays and array buffers become
 * `bytes`. Arrays become `list`, and plain objects become `dict`.
 *
 * From Python, the same types come back. In addition, tuples become arrays, `bytearray` and `memoryview` become buffers,
 * and an `int` beyond 2^53 - 1 becomes a bigint.
 */
export type PythonValue =
  null | boolean | number | bigint | string | Uint8Array | PythonValue[] | { [name: string]: PythonValue };

/** An argument for Python: a {@link PythonValue}, or any ArrayBuffer or view. */
export type PythonArgument =
  | null
  | boolean
  | number
  | bigint
  | string
  | ArrayBufferView
  | ArrayBufferLike
  | readonly PythonArgument[]
  | { readonly [name: string]: PythonArgument };

/** The same number as in `crates/python/src/interpreter/value.rs`. */
const MAX_DEPTH = 500;

/**
 * The value as the addon takes it. Converts a copy where a part of the value must look different. The addon copies the
 * bytes of buffers, so a later change of a buffer changes nothing in Python.
 *
 * @param place - The name of the value in an error: `argument`, which the index follows, or `the keyword arguments`.
 * @throws {@link MallocBackendError} `ERR_PYTHON_VALUE`, which names the place and the type
 */
export function toPython(value: unknown, place: string, index?: number): PythonValue {
  try {
    return converted(value, 0);
  } catch (error) {
    if (!(error instanceof Unfit)) throw error;
    const where = `${place}${index === undefined ? '' : ` ${index}`}${error.path}`;
    throw new MallocBackendError('ERR_PYTHON_VALUE', `${where.slice(0, LONGEST_PLACE)} ${error.why}`);
  }
}

/** Maximum length of a place in a message, in characters. */
const LONGEST_PLACE = 200;

/** Why a part of a value has no equivalent. The path grows while the stack unwinds: a value that fits pays nothing for it. */
class Unfit {
  path = '';
  constructor(readonly why: string) {}

  static in(error: unknown, step: string): unknown {
    if (error instanceof Unfit) error.path = step + error.path;
    return error;
  }
}

function converted(value: unknown, depth: number): PythonValue {
  switch (typeof value) {
    case 'boolean':
    case 'number':
    case 'bigint':
    case 'string':
      return value;
    case 'object':
      return value === null ? null : convertedObject(value, depth);
    case 'undefined':
      throw new Unfit('is undefined; None is null');
    default:
      throw new Unfit(`is a ${typeof value}, which has no equivalent in Python`);
  }
}

function convertedObject(value: object, depth: number): PythonValue {
  if (depth >= MAX_DEPTH) throw new Unfit(`is nested more than ${MAX_DEPTH} deep, or within itself`);
  if (Array.isArray(value)) return convertedArray(value, depth + 1);
  if (ArrayBuffer.isView(value)) return bytes(value.buffer, value.byteOffset, value.byteLength);
  if (types.isAnyArrayBuffer(value)) return bytes(value, 0, value.byteLength);
  if (!isPlain(value)) {
    const name = types.isProxy(value) ? 'Proxy' : (value.constructor?.name ?? 'object');
    throw new Unfit(
      `is a ${name}, which has no equivalent in Python; pass a plain object, an array or a string`,
    );
  }
  if (
    Object.getOwnPropertySymbols(value).some((key) => Object.prototype.propertyIsEnumerable.call(value, key))
  ) {
    throw new Unfit('has a property whose key is a symbol, and a dict has only string keys');
  }
  const copy = Object.create(null) as Record<string, PythonValue>;
  for (const [name, item] of Object.entries(value)) {
    try {
      copy[name] = converted(item, depth + 1);
    } catch (error) {
      throw Unfit.in(error, `.${name}`);
    }
  }
  return copy;
}

function convertedArray(value: readonly unknown[], depth: number): PythonValue[] {
  const copy: PythonValue[] = [];
  try {
    // (`map` would leave holes out, and they would be None.)
    for (const item of value) copy.push(converted(item, depth));
  } catch (error) {
    throw Unfit.in(error, `[${copy.length}]`);
  }
  return copy;
}

/** Whether the value is a plain object. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || types.isProxy(value)) return false;
  const prototype = Object.getPrototypeOf(value) as object | null;
  // This check also accepts a plain object of another realm, which has another Object.prototype.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function bytes(buffer: ArrayBufferLike, offset: number, length: number): Uint8Array {
  try {
    return new Uint8Array(buffer, offset, length);
  } catch {
    throw new Unfit('is a buffer whose memory was given away or freed (detached)');
  }
}
