// What `compare` shows: a line that says how far it is, and the table at the end.

import type { WriteStream } from 'node:tty';
import type { Progress } from '../compare/events.js';
import { count, duration } from '../compare/export/format.js';
import { circumstances } from '../compare/export/markdown.js';
import { type Cell, rowsOf } from '../compare/export/rows.js';
import { sparklines } from '../compare/export/sparkline.js';
import type { CompareResults } from '../compare/results.js';

export type Paint = (text: string, ...codes: number[]) => string;

/** Colours on a terminal, unless the user wants none (no-color.org). */
export function painter(stream: Pick<WriteStream, 'isTTY'>): Paint {
  const isPlain = !stream.isTTY || Boolean(process.env['NO_COLOR']) || process.env['TERM'] === 'dumb';
  return (text, ...codes) => (isPlain ? text : `\u001b[${codes.join(';')}m${text}\u001b[0m`);
}

const TONES = { better: 32, worse: 31, undecided: 33 } as const;
const CURVE = 24;

/** How wide a text is: what stands here has one column a code point. */
const width = (text: string): number => [...text].length;

/** A terminal may not know its width, and then says 0. */
export const known = (columns: number | undefined): number => columns || Infinity;

/** The table, the advice, and how it came about. `columns` is the width of the terminal, if it is one. */
export function report(results: CompareResults, paint: Paint, columns?: number): string {
  const whole = tableOf(results, paint, true);
  // Without the intervals it fits into more terminals. Where it does not, its lines are broken.
  const { text } = whole.width <= known(columns) ? whole : tableOf(results, paint, false);
  const { advice } = results;
  return [
    text,
    '',
    ...(advice === undefined ? [] : [paint(advice.sentence, 1), '']),
    ...(advice?.dockerfile === undefined ? [] : [...advice.dockerfile, '']),
    paint(circumstances(results), 2),
    '',
  ].join('\n');
}

function tableOf(
  results: CompareResults,
  paint: Paint,
  hasIntervals: boolean,
): { text: string; width: number } {
  const { titles, rows } = rowsOf(results, hasIntervals);
  const curves = sparklines(results, CURVE);
  const lines = rows.map(({ subject, isBaseline, cells }) => [
    { text: isBaseline ? `${subject} (baseline)` : subject },
    ...cells,
    { text: curves.get(subject) ?? '' },
  ]);
  return aligned(['subject', ...titles, 'RSS over time'], lines, paint);
}

/** A table in columns of one width each. */
export function aligned(
  head: readonly string[],
  lines: readonly (readonly Cell[])[],
  paint: Paint,
): { text: string; width: number } {
  const widths = head.map((title, at) =>
    Math.max(width(title), ...lines.map((cells) => width(cells[at]?.text ?? ''))),
  );
  const padded = ({ text, tone }: Cell, at: number): string => {
    const rest = ' '.repeat(Math.max(0, widths[at]! - width(text)));
    return (tone === undefined ? text : paint(text, TONES[tone])) + rest;
  };
  const line = (cells: readonly Cell[]): string => cells.map(padded).join('  ').trimEnd();
  const total = widths.reduce((sum, each) => sum + each + 2, -2);
  return {
    text: [paint(line(head.map((text) => ({ text }))), 1), ...lines.map(line)].join('\n'),
    width: total,
  };
}

/** One line that is written over. Nothing where the stream is no terminal. */
export class ProgressLine {
  readonly #stream: WriteStream;
  #text = '';
  #timer: NodeJS.Timeout | undefined;
  #began = 0;
  #state: { subject: string; round: number; progress: Progress } | undefined;

  constructor(stream: WriteStream) {
    this.#stream = stream;
  }

  /** A run begins. The time goes on until the next call. */
  show(state: { subject: string; round: number; progress: Progress }): void {
    if (!this.#stream.isTTY) return;
    this.#state = state;
    this.#began = performance.now();
    this.#timer ??= setInterval(() => this.#draw(), 200).unref();
    this.#draw();
  }

  /** Clears the line, so that something else can be printed. */
  clear(): void {
    if (this.#text !== '') this.#stream.write('\r\u001b[K');
    this.#text = '';
  }

  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.clear();
  }

  #draw(): void {
    const text = [...this.#line()].slice(0, known(this.#stream.columns) - 1).join('');
    if (text === this.#text) return;
    this.#text = text;
    this.#stream.write(`\r\u001b[K${text}`);
  }

  #line(): string {
    const { subject, round, progress } = this.#state!;
    const { rounds, leftMs } = progress;
    const passed = performance.now() - this.#began;
    const range = rounds.least === rounds.most ? `${rounds.most}` : `${rounds.least} to ${rounds.most}`;
    return [
      round === 0 ? 'warm-up' : `round ${round} of ${range}`,
      subject,
      ...(progress.done > 0 ? [count(progress.done, 'run')] : []),
      ...(leftMs === undefined ? [] : [left(leftMs, passed)]),
    ].join(' · ');
  }
}

/** The time left, which passes while a run goes on. */
function left({ least, most }: NonNullable<Progress['leftMs']>, passed: number): string {
  const [soonest, latest] = [duration(least - passed), duration(most - passed)];
  return soonest === latest ? `${latest} left` : `${soonest} left, at most ${latest}`;
}
