// `malloc-backend compare --prometheus`. The native program (crates/cli/src/command/fleet.rs) has parsed the words, and started
// Node with this file and the options as JSON.

import { readFileSync } from 'node:fs';
import { checkWritable } from '../compare/store.js';
import { invalidArgument } from '../errors.js';
import { fleetCircumstances, fleetRows, renderFleetCsv, renderFleetMarkdown } from '../fleet/export.js';
import { compareFleet } from '../fleet/fleet.js';
import type { FleetOptions } from '../fleet/options.js';
import type { FleetResults } from '../fleet/results.js';
import { fail } from './fail.js';
import { type Paint, aligned, known, painter } from './terminal.js';
import { type Export, defined, onSignals, say, time, write } from './words.js';

/** The words of the command line, as the native program names them. */
interface Words {
  prometheus: string;
  by: readonly string[];
  workload: string | null;
  since: string | null;
  pod: readonly string[];
  requests: string | null;
  metricPrefix: string | null;
  header: readonly string[];
  baseline: string | null;
  exportJson: string | null;
  exportCsv: string | null;
  exportMarkdown: string | null;
}

function optionsOf(words: Words, signal: AbortSignal): FleetOptions {
  const list = (names: readonly string[]) => (names.length === 0 ? undefined : names);
  return defined<FleetOptions>({
    prometheus: words.prometheus,
    by: list(words.by),
    workload: words.workload,
    sinceMs: time('--since', words.since),
    pod: list(words.pod),
    requests: words.requests,
    prefix: words.metricPrefix,
    headers: headersOf(words.header),
    baseline: words.baseline,
    signal,
  });
}

/** `Name: value`, or `@file` with such lines, which other users of the machine cannot see in the list of processes. */
function headersOf(words: readonly string[]): Record<string, string> {
  const lines = words.flatMap((word) => (word.startsWith('@') ? linesOf(word.slice(1)) : [word]));
  return Object.fromEntries(
    lines.map((line) => {
      const [, name = '', value = ''] = /^([^:\s]+):\s*(.*)$/s.exec(line) ?? [];
      // The line may hold a password, so the message does not show it.
      if (name === '')
        throw invalidArgument("--header needs a name and a value: 'Authorization: Bearer …', or @file");
      return [name, value];
    }),
  );
}

function linesOf(file: string): string[] {
  try {
    const lines = readFileSync(file, 'utf8').split(/\r?\n/);
    return lines.filter((line) => line.trim() !== '');
  } catch (cause) {
    throw invalidArgument(`--header cannot read the file ${file}: ${(cause as Error).message}`);
  }
}

function report(results: FleetResults, paint: Paint, columns?: number): string {
  const table = (hasIntervals: boolean) => {
    const { titles, rows } = fleetRows(results, hasIntervals);
    const lines = rows.map(({ subject, isBaseline, cells }) => [
      { text: isBaseline ? `${subject} (baseline)` : subject },
      ...cells,
    ]);
    return aligned(['variant', ...titles], lines, paint);
  };
  const whole = table(true);
  const { text } = whole.width <= known(columns) ? whole : table(false);
  return [text, '', paint(results.advice.sentence, 1), '', paint(fleetCircumstances(results), 2), ''].join(
    '\n',
  );
}

async function main([text = '{}']: string[]): Promise<void> {
  const words = JSON.parse(text) as Words;
  const abort = new AbortController();
  const signals = onSignals(abort);
  const exports = (
    [
      [words.exportJson, (results: FleetResults) => `${JSON.stringify(results, null, 2)}\n`],
      [words.exportCsv, renderFleetCsv],
      [words.exportMarkdown, renderFleetMarkdown],
    ] as const
  ).filter((each): each is Export<FleetResults> => each[0] !== null);
  try {
    const options = optionsOf(words, abort.signal);
    for (const [file] of exports) checkWritable(file);
    const results = await compareFleet(options);
    for (const { message } of results.warnings) say(painter(process.stderr)(`Warning: ${message}`, 33));
    process.stdout.write(report(results, painter(process.stdout), process.stdout.columns));
    const failure = write(exports, results);
    if (failure !== undefined) throw failure;
  } catch (error) {
    process.exitCode = signals.failed(error);
  } finally {
    signals.end();
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.exitCode = fail(error);
});
