// What the words of the command line mean, and what several commands in TypeScript do alike.

import { constants } from 'node:os';
import type { CompareResults } from '../compare/results.js';
import { replaceFile } from '../compare/store.js';
import { type MallocBackendError, invalidArgument } from '../errors.js';
import { fail } from './fail.js';

/** Without what is undefined: an option that is there and undefined is another thing. */
export function defined<Value extends object>(value: {
  [Key in keyof Value]: Value[Key] | undefined | null;
}): Value {
  return Object.fromEntries(
    Object.entries(value).filter(([, each]) => each !== undefined && each !== null),
  ) as Value;
}

export function number(name: string, text: string | null): number | undefined {
  if (text === null) return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw invalidArgument(`${name} must be an integer, not ${JSON.stringify(text)}`);
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `90s`, `10m`, `2h`, `7d`, in milliseconds. */
export function time(name: string, text: string | null): number | undefined {
  if (text === null) return undefined;
  const [, digits, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? [];
  if (digits !== undefined && Number(digits) > 0) return Number(digits) * UNITS[unit!]!;
  throw invalidArgument(`${name} must be a time like 500ms, 90s, 10m or 2h, not ${JSON.stringify(text)}`);
}

/** `3%` or `3`, as a part. */
export function part(name: string, text: string | null): number | undefined {
  if (text === null) return undefined;
  const [, digits] = /^(\d+(?:\.\d+)?)%?$/.exec(text) ?? [];
  if (digits !== undefined) return Number(digits) / 100;
  throw invalidArgument(`${name} must be a percentage like 3%, not ${JSON.stringify(text)}`);
}

/** A file to write at the end, and its content. */
export type Export<Results = CompareResults> = [file: string, render: (results: Results) => string];

/** Writes every file that can be written, and gives the error for one that cannot. */
export function write<Results>(exports: readonly Export<Results>[], results: Results): unknown {
  let failure: unknown;
  for (const [file, render] of exports)
    try {
      replaceFile(file, render(results));
    } catch (error) {
      if (failure !== undefined) fail(failure);
      failure = error;
    }
  return failure;
}

export const say = (message: string): void => console.error(message);

/** A Ctrl-C that npm passes on comes twice, once from the terminal. */
const TWICE_MS = 500;

interface Signals {
  /** Says why the command failed, or that a signal ended it, and gives the exit status for that. */
  failed: (error: unknown) => number;
  end: () => void;
}

/** The first signal ends the command in order, and the second one at once. */
export function onSignals(abort: AbortController): Signals {
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  let first = 0;
  let status = 130;
  const handler = (name: NodeJS.Signals): void => {
    status = 128 + constants.signals[name];
    // The launcher ends the program when this process is gone.
    if (abort.signal.aborted && performance.now() - first > TWICE_MS) process.exit(status);
    if (abort.signal.aborted) return;
    first = performance.now();
    abort.abort();
  };
  for (const name of names) process.on(name, handler);
  return {
    failed: (error) => {
      if ((error as Partial<MallocBackendError>).code !== 'ERR_ABORTED') return fail(error);
      say('malloc-backend: interrupted');
      return status;
    },
    end: () => names.forEach((name) => process.off(name, handler)),
  };
}
