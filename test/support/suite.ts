// vitest's functions, with the reason for each skip: `{ skip: 'why' }` for a test or for a suite.

import * as vitest from 'vitest';

export interface Options {
  /** Why it cannot run here; false where it can. */
  skip?: string | false;
  /** Runs the tests at the same time, as many as `maxConcurrency` in vitest.config.ts allows. */
  concurrent?: boolean;
}

type Body = (context: vitest.TestContext) => unknown;

/** Why the suite that is being collected is skipped. */
let suiteSkip: string | false = false;

export function describe(name: string, ...rest: [() => unknown] | [Options, () => unknown]): void {
  const [{ skip = false, ...options }, body] = rest.length === 2 ? rest : [{}, rest[0]];
  const reason = suiteSkip || skip;
  // vitest collects one suite after the other.
  vitest.describe(name, options, async () => {
    const outer = suiteSkip;
    suiteSkip = reason;
    try {
      await body();
    } finally {
      suiteSkip = outer;
    }
  });
}

export function test(name: string, ...rest: [Body] | [Options, Body]): void {
  const [{ skip = false, ...options }, body] = rest.length === 2 ? rest : [{}, rest[0]];
  const reason = suiteSkip || skip;
  // vitest takes a reason only from a test that runs.
  vitest.test(name, options, async (context) => {
    if (reason !== false) context.skip(reason);
    await body(context);
  });
}

export function beforeAll(hook: () => unknown): void {
  if (suiteSkip === false) vitest.beforeAll(async () => void (await hook()));
}

export function afterAll(hook: () => unknown): void {
  if (suiteSkip === false) vitest.afterAll(async () => void (await hook()));
}

export function afterEach(hook: () => unknown): void {
  if (suiteSkip === false) vitest.afterEach(async () => void (await hook()));
}
