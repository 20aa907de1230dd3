// The wire format of Protocol Buffers, as far as pprof's profile.proto needs it.
//
// No library: each field would have to be checked here all the same. pprof-format, the library that other profilers for Node use,
// reads a file that is cut off without an error. Tests compare both (test/pprof.test.ts).

/** What one field holds: a number, or bytes. */
type Wire = 'varint' | 'fixed64' | 'bytes' | 'fixed32';

const WIRES: readonly (Wire | undefined)[] = ['varint', 'fixed64', 'bytes', undefined, undefined, 'fixed32'];

/** Reads the fields of one message. Throws a `RangeError` for bytes that are none. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;
  #low = 0;
  #high = 0;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  /** The next field's number and kind; nothing at the end. Then one of the methods below must take its value. */
  next(): { field: number; wire: Wire } | undefined {
    if (this.#at >= this.#end) return undefined;
    this.#varint();
    const wire = WIRES[this.#low & 7];
    const field = this.#low >>> 3;
    if (wire === undefined || field === 0 || this.#high !== 0)
      throw new RangeError('it has a field of an unknown kind');
    return { field, wire };
  }

  skip(wire: Wire): void {
    if (wire === 'varint') this.#varint();
    else if (wire === 'bytes') this.message();
    else this.#advance(wire === 'fixed32' ? 4 : 8);
  }

  /** An int64. Exact up to 2^53. */
  number(): number {
    this.#varint();
    return (this.#high | 0) * 2 ** 32 + (this.#low >>> 0);
  }

  /** An uint64. */
  big(): bigint {
    this.#varint();
    return (BigInt(this.#high >>> 0) << 32n) | BigInt(this.#low >>> 0);
  }

  /** Repeated numbers: packed, or one of them. */
  numbers(wire: Wire, into: number[]): void {
    if (wire === 'varint') {
      into.push(this.number());
      return;
    }
    const packed = this.message();
    while (packed.#at < packed.#end) into.push(packed.number());
  }

  message(): Reader {
    const length = this.number();
    if (length < 0) throw new RangeError('it has a field of negative length');
    const start = this.#at;
    this.#advance(length);
    return new Reader(this.#bytes, start, this.#at);
  }

  text(): string {
    const { bytes } = this.message();
    return TEXT.decode(bytes);
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(this.#at, this.#end);
  }

  #advance(count: number): void {
    this.#at += count;
    if (this.#at > this.#end) throw new RangeError('it ends within a field');
  }

  /** 64 bits, in two halves: BigInt would cost ten times the time. */
  #varint(): void {
    let [low, high] = [0, 0];
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#bytes[this.#at]!;
      this.#advance(1);
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) [low, high] = [low | (bits << 28), bits >>> 4];
      else high |= bits << (shift - 32);
      if (byte < 0x80) {
        [this.#low, this.#high] = [low >>> 0, high >>> 0];
        return;
      }
    }
    throw new RangeError('it has a number of more than 64 bits');
  }
}

const TEXT = new TextDecoder();

/** Writes the fields of one message. What is zero or empty is left out, as proto3 has it. */
export class Writer {
  #bytes = Buffer.alloc(256);
  #length = 0;

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  number(field: number, value: number | bigint | boolean): void {
    if (Number(value) === 0) return;
    this.#varint(BigInt(field << 3));
    this.#varint(BigInt(value));
  }

  numbers(field: number, values: readonly (number | bigint)[]): void {
    if (values.length === 0) return;
    const packed = new Writer();
    for (const value of values) packed.#varint(BigInt(value));
    this.bytes(field, packed.finish());
  }

  /** A message or a text, also an empty one. */
  bytes(field: number, bytes: Uint8Array): void {
    this.#varint(BigInt((field << 3) | 2));
    this.#varint(BigInt(bytes.length));
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #varint(value: bigint): void {
    this.#reserve(10);
    let rest = BigInt.asUintN(64, value);
    for (; rest > 0x7fn; rest >>= 7n) this.#bytes[this.#length++] = Number(rest & 0x7fn) | 0x80;
    this.#bytes[this.#length++] = Number(rest);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = Buffer.alloc((this.#length + count) * 2);
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}
