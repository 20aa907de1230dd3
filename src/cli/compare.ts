// `malloc-backend compare`. The native program (crates/cli/src/command/compare.rs) has parsed the words, and started Node with
// this file, the options as JSON, and the program's words.

import { existsSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { compare } from '../compare/compare.js';
import type { CompareEvent } from '../compare/events.js';
import { type Decision, lostGains, readDecision, renderConfig, repeated } from '../compare/decision.js';
import { count, duration } from '../compare/export/format.js';
import { renderCsv } from '../compare/export/csv.js';
import { renderHtml } from '../compare/export/html.js';
import { quoted, renderMarkdown } from '../compare/export/markdown.js';
import type { CompareOptions } from '../compare/options.js';
import { type CompareResults, readResults } from '../compare/results.js';
import { checkWritable } from '../compare/store.js';
import { type SubjectWords, subjectsOf } from '../compare/subjects.js';
import { MallocBackendError } from '../errors.js';
import { fail } from './fail.js';
import { type MeasureWords, measuring } from './measure-words.js';
import { type Export, defined, number, onSignals, part, say, time, write } from './words.js';
import { ProgressLine, painter, report } from './terminal.js';

/** The words of the command line, as the native program names them. */
interface Words extends SubjectWords, MeasureWords {
  baseline: string | null;
  runs: string | null;
  interval: string | null;
  costWithin: string | null;
  exportJson: string | null;
  exportCsv: string | null;
  exportHtml: string | null;
  exportMarkdown: string | null;
  save: string | null;
  check: string | null;
  resume: string | null;
}

/** Where the results are if no file was named: interrupted, the comparison can go on all the same. */
const ownFile = (): string => join(mkdtempSync(join(tmpdir(), 'malloc-backend-')), 'compare.json');

function optionsOf(
  words: Words,
  program: string[],
  signal: AbortSignal,
  decision: Decision | undefined,
): CompareOptions {
  const { exportJson, resume } = words;
  const given = defined<CompareOptions>({
    command: program.length > 0 ? program : undefined,
    subjects: subjectsOf(words),
    baseline: words.baseline,
    runs: number('--runs', words.runs),
    intervalMs: time('--interval', words.interval),
    costWithin: part('--cost-within', words.costWithin),
    ...measuring(words),
    file: exportJson ?? resume ?? ownFile(),
    resume,
    signal,
  });
  return decision === undefined ? given : { ...repeated(decision), ...given };
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
  const signals = onSignals(abort);
  const exports = (
    [
      [words.exportCsv, renderCsv],
      [words.exportHtml, renderHtml],
      [words.exportMarkdown, renderMarkdown],
      [words.save, renderConfig],
    ] as const
  ).filter((each): each is Export => each[0] !== null);
  const line = new ProgressLine(process.stderr);
  let file: string | undefined;
  let state: { created?: string; isShown: boolean } = { isShown: false };
  try {
    const decision = words.check === null ? undefined : readDecision(words.check);
    const options = optionsOf(words, program, abort.signal, decision);
    file = options.file!;
    for (const [each] of exports) checkWritable(each);
    for await (const event of compare(options)) {
      if (event.type === 'start') state = { created: event.results.created, isShown: false };
      if (event.type === 'end') state.isShown = true;
      const failure = show(event, line, exports);
      if (failure !== undefined) throw failure;
      if (event.type === 'end' && decision !== undefined) requireGains(words.check!, decision, event.results);
    }
    say(`results: ${file}`);
  } catch (error) {
    line.end();
    process.exitCode = signals.failed(error);
    if (!state.isShown && state.created !== undefined)
      partial(
        file!,
        state.created,
        exports.filter(([, render]) => render !== renderConfig),
      );
  } finally {
    signals.end();
    if (file !== undefined && words.exportJson === null && words.resume === null) tidy(file);
  }
}

/** Shows an event, and gives the error where a file cannot be written at the end. */
function show(event: CompareEvent, line: ProgressLine, exports: readonly Export[]): unknown {
  if (event.type === 'run-start') line.show(event);
  else if (event.type !== 'run') line.clear();
  if (event.type === 'start') {
    const { tool, subjects, command, options } = event.results;
    const length =
      options.runs === undefined ? `at most ${duration(options.budgetMs!)}` : count(options.runs, 'round');
    say(`${tool} compares ${count(subjects.length, 'subject')}, ${length}: ${command.map(quoted).join(' ')}`);
  } else if (event.type === 'warning') {
    say(painter(process.stderr)(`Warning: ${event.warning.message}`, 33));
  } else if (event.type === 'end') {
    line.end();
    say(`${REASONS[event.reason]}\n`);
    process.stdout.write(report(event.results, painter(process.stdout), process.stdout.columns));
    return write(exports, event.results);
  }
  return undefined;
}

/** Fails where the decision gains less than it did. */
function requireGains(file: string, decision: Decision, results: CompareResults): void {
  const lost = lostGains(decision, results);
  if (lost.length === 0) return say(`the gain that ${file} states is there`);
  throw new MallocBackendError(
    'ERR_GAIN_LOST',
    `the gain that ${file} states is gone: ${lost.join('; ')}. Measure again with compare --save, and review the decision`,
  );
}

/** Says how to go on, and exports what there is. Nothing where no run was saved: the file may be of another comparison. */
function partial(file: string, created: string, exports: readonly Export[]): void {
  if (!existsSync(file)) return;
  const results = readResults(file);
  if (results.created !== created) return;
  const runs = count(results.runs.length, 'run');
  say(`malloc-backend: ${runs} saved; go on with: malloc-backend compare --resume ${quoted(file)}`);
  const failure = write(exports, results);
  if (failure !== undefined) fail(failure);
}

/** Removes the folder of our own where no run was saved. */
function tidy(file: string): void {
  if (!existsSync(file)) rmdirSync(dirname(file));
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.exitCode = fail(error);
});
