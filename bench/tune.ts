import { join } from 'node:path';
import {
  type CompareResults,
  type TuneOptions,
  type TuneResults,
  compare,
  tune as search,
} from '../index.js';
import { change } from '../src/compare/export/format.js';
import { quoted } from '../src/compare/export/markdown.js';
import type { MetricName } from '../src/compare/results.js';
import { compile, root } from './measure.js';
import { photo } from './photo.js';
import { neutral } from './subjects.js';
import { markdown, type Options, type Table } from './table.js';

/** The fresh runs have so many rounds that their own chance is small beside that of the search's interval. */
const FRESH_ROUNDS = 100;
const PORT = 18_720;

async function searched(options: TuneOptions): Promise<TuneResults> {
  for await (const event of search(options)) if (event.type === 'end') return event.tuned;
  throw new Error('the search has no end');
}

async function compared(
  command: readonly string[],
  baseline: string,
  subject: string,
): Promise<CompareResults> {
  const options = { command, baseline, subjects: [subject], runs: FRESH_ROUNDS, env: neutral() };
  for await (const event of compare(options)) if (event.type === 'end') return event.results;
  throw new Error('the comparison has no end');
}

const gain = (results: CompareResults, subject: string, metric: MetricName) =>
  results.summaries.find((summary) => summary.subject === subject)?.against?.[metric];

/** What it finds for the image service, beside what the preset low-rss saves. */
async function image(minutes: number): Promise<string> {
  const url = `http://127.0.0.1:${PORT}/`;
  const service = (name: string): string => join(root, 'bench/services', name);
  const load = [process.execPath, service('load.mjs'), url, '24'].map(quoted).join(' ');
  const { results, winner, preset, tried, sentence } = await searched({
    goal: 'rss',
    cpuWithin: 0.03,
    budgetMs: minutes * 60_000,
    command: [process.execPath, service('image.mjs'), await photo()],
    service: { ready: url, load, idle: 3 },
    env: { ...neutral(), PORT: String(PORT) },
  });
  const rows = [...new Set([preset, ...(winner === null ? [] : [winner])])].map((subject) => {
    const [rss, cpu] = (['rssAfterIdle', 'cpu'] as const).map((metric) => gain(results, subject, metric));
    return [subject, interval(rss), interval(cpu)];
  });
  return `### The image service, ${minutes} minutes\n\n${markdown(['fresh runs of', 'RSS after idle', 'CPU'], rows)}\n\n${tried} sets of options were tried. ${sentence}`;
}

/** Whether the gain that it reports is that of other runs of the same program. */
async function repeated(times: number, progress: Options['progress']): Promise<string> {
  const command = [compile('threads'), '12000'];
  const rows: string[][] = [];
  for (let time = 1; time <= times; time++) {
    progress(`${time}/${times}`);
    const { results, winner } = await searched({ goal: 'rss', budgetMs: 60_000, command, env: neutral() });
    if (winner === null) {
      rows.push(['none', '', '', 'no']);
      continue;
    }
    const { low, high, ratio } = gain(results, winner, 'treePeakRss')!;
    const fresh = gain(await compared(command, results.baseline, winner), winner, 'treePeakRss')!.ratio;
    const holds = low <= fresh && fresh <= high ? 'yes' : 'no';
    rows.push([winner, interval({ low, high, ratio }), change(fresh), holds]);
  }
  const held = rows.filter((row) => row.at(-1) === 'yes').length;
  const table = markdown(['winner', 'reported', `${FRESH_ROUNDS} fresh rounds`, 'within'], rows);
  return `### The reported gain on fresh runs: within its interval ${held} of ${times} times\n\n${table}`;
}

const interval = (found: { ratio: number; low: number; high: number } | undefined): string =>
  found === undefined ? '' : `${change(found.ratio)} [${change(found.low)}, ${change(found.high)}]`;

async function* run({ runs, quick, program, progress }: Options): AsyncGenerator<string> {
  if (program !== 'image') yield await repeated(runs ?? (quick ? 2 : 10), progress);
  progress('image');
  if (program !== 'threads') yield await image(quick ? 3 : 20);
}

export const tune: Table = { title: 'tune: the gain that it reports', run };
