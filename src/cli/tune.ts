// `malloc-backend tune`. The native program (crates/cli/src/command/tune.rs) has parsed the words, and started Node with this
// file, the options as JSON, and the program's words.

import type { ProcessBackend } from '../backend.js';
import { renderConfig } from '../compare/decision.js';
import { count, duration, verdict } from '../compare/export/format.js';
import { quoted, renderMarkdown } from '../compare/export/markdown.js';
import { checkWritable } from '../compare/store.js';
import {
  DEFAULT_BUDGET_MS,
  type TuneEvent,
  type TuneGoal,
  type TuneOptions,
  type TuneResults,
  tune,
} from '../tune/tune.js';
import { fail } from './fail.js';
import { type MeasureWords, measuring } from './measure-words.js';
import { ProgressLine, painter, report } from './terminal.js';
import { type Export, defined, onSignals, part, say, write } from './words.js';

/** The words of the command line, as the native program names them. */
interface Words extends MeasureWords {
  goal: string;
  cpuWithin: string | null;
  rssWithin: string | null;
  backends: readonly string[];
  exportJson: string | null;
  exportMarkdown: string | null;
  save: string | null;
}

function optionsOf(words: Words, program: string[], signal: AbortSignal): TuneOptions {
  return defined<TuneOptions>({
    command: program,
    goal: words.goal as TuneGoal,
    cpuWithin: part('--cpu-within', words.cpuWithin),
    rssWithin: part('--rss-within', words.rssWithin),
    backends: words.backends.length > 0 ? (words.backends as ProcessBackend[]) : undefined,
    ...measuring(words),
    signal,
  });
}

const RACES = {
  presets: 'the presets',
  neighbours: 'sets of options near the best one',
  confirmation: 'the winner, on fresh runs',
} as const;

async function main([text = '{}', ...program]: string[]): Promise<void> {
  const words = JSON.parse(text) as Words;
  const abort = new AbortController();
  const signals = onSignals(abort);
  const exports = (
    [
      [words.exportJson, (results) => `${JSON.stringify(results)}\n`],
      [words.exportMarkdown, renderMarkdown],
      [words.save, renderConfig],
    ] as const satisfies readonly (readonly [string | null, Export[1]])[]
  ).filter((each): each is [string, Export[1]] => each[0] !== null);
  const line = new ProgressLine(process.stderr);
  try {
    const options = optionsOf(words, program, abort.signal);
    for (const [file] of exports) checkWritable(file);
    say(
      `tune lowers ${words.goal} in about ${duration(options.budgetMs ?? DEFAULT_BUDGET_MS)}: ${program.map(quoted).join(' ')}`,
    );
    for await (const event of tune(options)) {
      const failure = show(event, line, exports);
      if (failure !== undefined) throw failure;
    }
  } catch (error) {
    line.end();
    process.exitCode = signals.failed(error);
  } finally {
    signals.end();
  }
}

/** Shows an event, and gives the error where a file cannot be written at the end. */
function show(event: TuneEvent, line: ProgressLine, exports: readonly Export[]): unknown {
  if (event.type === 'run-start') line.show(event);
  else if (event.type !== 'run') line.clear();
  if (event.type === 'race') {
    say(`race ${event.race}: ${RACES[event.kind]}: ${event.subjects.join(' ')}`);
  } else if (event.type === 'warning') {
    say(painter(process.stderr)(`Warning: ${event.warning.message}`, 33));
  } else if (event.type === 'end') {
    line.end();
    say('');
    process.stdout.write(outcome(event.tuned));
    return write(exports, event.tuned.results);
  }
  return undefined;
}

function outcome({ results, mattered, tried }: TuneResults): string {
  const paint = painter(process.stdout);
  const lines = mattered.map(
    ({ key, value, without }) => `  ${key}=${value}: without this option ${verdict(without)}`,
  );
  return [
    report(results, paint, process.stdout.columns),
    ...(lines.length === 0 ? [] : ['What the options do:', ...lines, '']),
    `${count(tried, 'set')} of options tried.`,
    '',
  ].join('\n');
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.exitCode = fail(error);
});
