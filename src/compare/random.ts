// Random numbers that a seed decides, so that a resumed comparison goes on in the same order.

/** Gives a number in [0, 1) at each call. */
export type Random = () => number;

/** The generator sfc32 (Chris Doty-Humphrey, PractRand), started from the numbers. */
export function random(...seeds: readonly number[]): Random {
  const state = new Uint32Array([0x9e3779b9, 0x243f6a88, 0xb7e15162, 1]);
  const next = (): number => {
    const [a, b, c, counter] = state as unknown as [number, number, number, number];
    const result = (a + b + counter) >>> 0;
    state[3] = counter + 1;
    state[0] = b ^ (b >>> 9);
    state[1] = c + (c << 3);
    state[2] = ((c << 21) | (c >>> 11)) + result;
    return result / 2 ** 32;
  };
  for (const seed of seeds) {
    // Seeds may be larger than 32 bits.
    state[0]! ^= seed;
    state[1]! ^= Math.floor(seed / 2 ** 32);
    // Seeds that differ in a bit have nothing in common after twelve rounds.
    for (let round = 0; round < 12; round++) next();
  }
  return next;
}

/** A seed for a comparison that was given none. JSON keeps all its digits. */
export const anySeed = (): number => Math.floor(Math.random() * 2 ** 32);

/** The items in a random order (Fisher and Yates). */
export function shuffled<Item>(items: readonly Item[], next: Random): Item[] {
  const all = [...items];
  for (let at = all.length - 1; at > 0; at--) {
    const other = Math.floor(next() * (at + 1));
    [all[at], all[other]] = [all[other]!, all[at]!];
  }
  return all;
}
