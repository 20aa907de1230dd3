// The words about the runs, of every command that measures.

import type { CompareOptions } from '../compare/options.js';
import { type ServiceWords, serviceOf } from './service-words.js';
import { number, time } from './words.js';

/** As the native program names them. */
export interface MeasureWords extends ServiceWords {
  budget: string | null;
  warmup: string | null;
  setup: string | null;
  prepare: string | null;
  cleanup: string | null;
  ignoreFailure: boolean;
  showOutput: boolean;
  input: string | null;
  seed: string | null;
}

type Names = 'budgetMs' | 'warmup' | 'seed' | 'service' | 'ignoreFailure' | 'input' | 'output' | Around;
type Around = 'setup' | 'prepare' | 'cleanup';

/** The options that the words mean. Words that were not given are undefined or null. */
export function measuring(words: MeasureWords): {
  [Name in Names]: CompareOptions[Name] | undefined | null;
} {
  const { setup, prepare, cleanup, input } = words;
  return {
    budgetMs: time('--budget', words.budget),
    warmup: number('--warmup', words.warmup),
    seed: number('--seed', words.seed),
    service: serviceOf(words),
    ignoreFailure: words.ignoreFailure || undefined,
    setup,
    prepare,
    cleanup,
    input,
    output: words.showOutput ? 'inherit' : undefined,
  };
}
