/** The mean distance of two samples in bytes, at the least and at the most. */
export const LEAST_INTERVAL = 64;
export const MOST_INTERVAL = 2 ** 30;
