// RSS over time in one line of text.

import type { CompareResults, Run } from '../results.js';
import { median } from '../statistics.js';

const BARS = '▁▂▃▄▅▆▇█';

/** The run that stands for a subject: its mean RSS lies in the middle. */
export function typicalRun(runs: readonly Run[]): Run | undefined {
  const sampled = runs.filter(({ samples }) => samples.length > 0);
  if (sampled.length === 0) return undefined;
  const height = ({ meanRss, treePeakRss }: Run): number => meanRss ?? treePeakRss;
  const middle = median(sampled.map(height));
  return sampled.reduce((best, run) =>
    Math.abs(height(run) - middle) < Math.abs(height(best) - middle) ? run : best,
  );
}

/** The curve of each subject. All have one scale from 0 in height, and the same time in width. */
export function sparklines(
  results: Pick<CompareResults, 'runs' | 'subjects'>,
  width: number,
): Map<string, string> {
  const typical = results.subjects.map(({ id }) => ({
    id,
    run: typicalRun(results.runs.filter(({ subject }) => subject === id)),
  }));
  const all = typical.flatMap(({ run }) => run?.samples ?? []);
  const highest = Math.max(1, ...all.map(({ treeRss }) => treeRss));
  const longest = Math.max(1, ...typical.map(({ run }) => (run?.wall ?? 0) * 1000));
  return new Map(
    typical.map(({ id, run }) => [id, run === undefined ? '' : curve(run, highest, longest, width)]),
  );
}

/** In each column the highest sample of its part of the time, or where it has none the last one before. */
function curve({ samples, wall }: Run, highest: number, longest: number, width: number): string {
  const columns = Math.max(1, Math.round(((wall * 1000) / longest) * width));
  const heights = Array.from({ length: columns }, (): number | undefined => undefined);
  for (const { at, treeRss } of samples) {
    const column = Math.min(columns - 1, Math.floor((at / (wall * 1000)) * columns));
    heights[column] = Math.max(heights[column] ?? 0, treeRss);
  }
  let last = samples[0]!.treeRss;
  return heights
    .map(
      (height) =>
        BARS[Math.min(BARS.length - 1, Math.floor(((last = height ?? last) / highest) * BARS.length))],
    )
    .join('');
}
