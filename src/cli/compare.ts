// `malloc-backend compare`. The native program (crates/cli/src/command/compare.rs) has parsed the words, and started Node with
// this file, the options as JSON, and the program's words.

import { mkdtempSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { compare } from '../compare/compare.js';
import { count, duration } from '../compare/export/format.js';
import { renderCsv } from '../compare/export/csv.js';
import { quoted, renderMarkdown } from '../compare/export/markdown.js';
import type { CompareOptions } from '../compare/options.js';
import { type CompareResults, readResults } from '../compare/results.js';
import { checkWritable, replaceFile } from '../compare/store.js';
import { type SubjectWords, subjectsOf } from '../compare/subjects.js';
import { MallocBackendError } from '../errors.js';
import { fail } from './fail.js';
import { ProgressLine, painter, report } from './terminal.js';

/** The words of the command line, as the native program names them. */
interface Words extends SubjectWords {
  baseline: string | null;
  runs: string | null;
  budget: string | null;
  warmup: string | null;
  setup: string | null;
  prepare: string | null;
  cleanup: string | null;
  ignoreFailure: boolean;
  showOutput: boolean;
  input: string | null;
  interval: string | null;
  seed: string | null;
  exportJson: string | null;
  exportCsv: string | null;
  exportMarkdown: string | null;
  resume: string | null;
}

type Export = [file: string, render: (results: CompareResults) => string];

/** Without what is undefined: an option that is there and undefined is another thing. */
function defined<Value extends object>(value: {
  [Key in keyof Value]: Value[Key] | undefined | null;
}): Value {
  return Object.fromEntries(
    Object.entries(value).filter(([, each]) => each !== undefined && each !== null),
  ) as Value;
}

function number(name: string, text: string | null): number | undefined {
  if (text === null) return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    `${name} must be an integer, not ${JSON.stringify(text)}`,
  );
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `500ms`, `90s`, `10m`, `2h`, in milliseconds. */
function time(name: string, text: string | null): number | undefined {
  if (text === null) return undefined;
  const [, digits, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  if (digits !== undefined && Number(digits) > 0) return Number(digits) * UNITS[unit!]!;
  throw new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    `${name} must be a time like 500ms, 90s, 10m or 2h, not ${JSON.stringify(text)}`,
  );
}

/** Where the results are if no file was named: interrupted, the comparison can go on all the same. */
const ownFile = (): string => join(mkdtempSync(join(tmpdir(), 'malloc-backend-')), 'compare.json');

function optionsOf(words: Words, program: string[], signal: AbortSignal): CompareOptions {
  const { exportJson, resume } = words;
  return defined<CompareOptions>({
    command: program.length > 0 ? program : undefined,
    subjects: subjectsOf(words),
    baseline: words.baseline,
    runs: number('--runs', words.runs),
    budgetMs: time('--budget', words.budget),
    warmup: number('--warmup', words.warmup),
    seed: number('--seed', words.seed),
    intervalMs: time('--interval', words.interval),
    ignoreFailure: words.ignoreFailure || undefined,
    setup: words.setup,
    prepare: words.prepare,
    cleanup: words.cleanup,
    input: words.input,
    output: words.showOutput ? 'inherit' : undefined,
    file: exportJson ?? resume ?? ownFile(),
    resume,
    signal,
  });
}

/** Writes every file that can be written, and says which cannot. */
function write(exports: readonly Export[], results: CompareResults): void {
  let failure: unknown;
  for (const [file, render] of exports)
    try {
      replaceFile(file, render(results));
    } catch (error) {
      if (failure !== undefined) console.error(`malloc-backend: ${(failure as Error).message}`);
      failure = error;
    }
  if (failure !== undefined) throw failure;
}

const REASONS = {
  decided: 'every difference is decided',
  runs: 'all rounds are measured',
  budget: 'the budget is used up',
  rounds: 'more rounds would not decide it',
} as const;

async function main([text = '{}', ...program]: string[]): Promise<void> {
  const words = JSON.parse(text) as Words;
  const abort = new AbortController();
  const options = optionsOf(words, program, abort.signal);
  const exports = (
    [
      [words.exportCsv, renderCsv],
      [words.exportMarkdown, renderMarkdown],
    ] as const
  ).filter((each): each is Export => each[0] !== null);
  for (const [file] of exports) checkWritable(file);
  const signals = onSignals(abort);
  const line = new ProgressLine(process.stderr);
  const say = (message: string): void => {
    line.clear();
    console.error(message);
  };
  const paint = painter(process.stderr);
  let results: CompareResults | undefined;
  try {
    for await (const event of compare(options)) {
      if (event.type === 'start') {
        results = event.results;
        const { subjects, command, options: measured } = results;
        const length =
          measured.runs === undefined ? `at most ${duration(measured.budgetMs!)}` : `${measured.runs} rounds`;
        say(
          `${results.tool} compares ${subjects.length} subjects, ${length}: ${command.map(quoted).join(' ')}`,
        );
      } else if (event.type === 'run-start') line.show(event);
      else if (event.type === 'run') results = event.results;
      else if (event.type === 'warning') say(paint(`Warning: ${event.warning.message}`, 33));
      else {
        results = event.results;
        say(`${REASONS[event.reason]}\n`);
      }
    }
    line.end();
    process.stdout.write(report(results!, painter(process.stdout)));
    write(exports, results!);
    say(`results: ${options.file}`);
  } catch (error) {
    line.end();
    process.exitCode =
      (error as Partial<MallocBackendError>).code === 'ERR_ABORTED' ? signals.status : fail(error);
    if (process.exitCode === signals.status) console.error('malloc-backend: interrupted');
    if (results !== undefined && results.runs.length > 0) partial(options.file!, exports);
  } finally {
    signals.end();
  }
}

/** Says how to go on, and exports what there is. */
function partial(file: string, exports: readonly Export[]): void {
  const results = readResults(file);
  console.error(
    `malloc-backend: ${count(results.runs.length, 'run')} saved; go on with: malloc-backend compare --resume ${quoted(file)}`,
  );
  write(exports, results);
}

/** The first signal ends the comparison in order, and the second one at once. */
function onSignals(abort: AbortController): { status: number; end: () => void } {
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const state = { status: 130, end: () => names.forEach((name) => process.off(name, handler)) };
  const handler = (name: NodeJS.Signals): void => {
    state.status = 128 + constants.signals[name];
    // The launcher ends the program when this process is gone.
    if (abort.signal.aborted) process.exit(state.status);
    abort.abort();
  };
  for (const name of names) process.on(name, handler);
  return state;
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.exitCode = fail(error);
});
