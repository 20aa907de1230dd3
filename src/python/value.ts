import { types } from 'node:util';
import { MallocBackendError } from '../errors.js';

/**
 * What goes to Python and comes from it: null is `None`; integers up to 2^53 - 1 and bigints are `int`, other numbers
 * `float`; strings `str`; buffers, typed arrays and array buffers `bytes`; arrays `list`; plain objects `dict`.
 *
 * From Python, tuples too come as arrays, `bytearray` and `memoryview` as buffers, and an `int` beyond 2^53 - 1 as a
 * bigint.
 */
export type PythonValue =
  null | boolean | number | bigint | string | Uint8Array | PythonValue[] | { [name: string]: PythonValue };

/** What may be handed over: {@link PythonValue}, and any memory. */
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

/** As in `crates/python/src/interpreter/value.rs`. */
const MAX_DEPTH = 500;

/**
 * The value as the addon takes it. A copy is made where something in it must look different, and bytes are copied when
 * the addon takes them: what happens to a buffer later is nobody's concern.
 *
 * @throws {@link MallocBackendError} `ERR_PYTHON_VALUE`, which names the place and the type
 */
export function toPython(value: unknown, place: string, depth = 0): PythonValue {
  switch (typeof value) {
    case 'boolean':
    case 'number':
    case 'bigint':
    case 'string':
      return value;
    case 'object':
      if (value === null) return null;
      return objectToPython(value, place, depth);
    case 'undefined':
      throw refused(place, 'is undefined; None is null');
    default:
      throw refused(place, `is a ${typeof value}, which Python has no equivalent for`);
  }
}

function objectToPython(value: object, place: string, depth: number): PythonValue {
  if (depth >= MAX_DEPTH)
    throw refused(place.slice(0, 80), `is nested more than ${MAX_DEPTH} deep, or within itself`);
  if (Array.isArray(value)) {
    // (`map` would leave holes out, and they would be None.)
    return Array.from(value, (item, index) => toPython(item, `${place}[${index}]`, depth + 1));
  }
  if (ArrayBuffer.isView(value)) return bytes(value.buffer, value.byteOffset, value.byteLength, place);
  if (types.isAnyArrayBuffer(value)) return bytes(value, 0, value.byteLength, place);
  if (!isPlain(value)) {
    const name = types.isProxy(value) ? 'Proxy' : (value.constructor?.name ?? 'object');
    throw refused(
      place,
      `is a ${name}, which Python has no equivalent for; a plain object, array or string is needed`,
    );
  }
  if (
    Object.getOwnPropertySymbols(value).some((key) => Object.prototype.propertyIsEnumerable.call(value, key))
  ) {
    throw refused(place, 'has a property whose key is a symbol, which a dict of strings has no place for');
  }
  const copy = Object.create(null) as Record<string, PythonValue>;
  for (const [name, item] of Object.entries(value))
    copy[name] = toPython(item, `${place}.${name}`, depth + 1);
  return copy;
}

/** Whether it is an object of names and values, and nothing more. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || types.isProxy(value)) return false;
  const prototype = Object.getPrototypeOf(value) as object | null;
  // Also of another realm, whose Object.prototype is another.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function bytes(buffer: ArrayBufferLike, offset: number, length: number, place: string): Uint8Array {
  try {
    return new Uint8Array(buffer, offset, length);
  } catch {
    throw refused(place, 'is a buffer whose memory was given away or freed (detached)');
  }
}

function refused(place: string, why: string): MallocBackendError {
  return new MallocBackendError('ERR_PYTHON_VALUE', `${place} ${why}`);
}
