import type { CompareResults, ServiceOptions } from '../../results.js';
import { DEFAULT_BASELINE, DEFAULT_SUBJECTS } from '../../subjects.js';
import { quoted } from '../markdown.js';

/** The program and its arguments as a shell takes them. */
export const commandText = (command: readonly string[]): string => command.map(quoted).join(' ');

/** The command that measures the same again. */
export function commandLine({ subjects, baseline, options, command }: CompareResults): string {
  const ids = subjects.map(({ id }) => id);
  const isStandard =
    ids.length === DEFAULT_SUBJECTS.length && ids.every((id, at) => id === DEFAULT_SUBJECTS[at]);
  const { runs, budgetMs, warmup, seed, intervalMs, ignoreFailure, costWithin } = options;
  const { setup, prepare, cleanup, service } = options;
  const words: (Word | false)[] = [
    ...(isStandard ? [] : ids.map((id) => ['--subject', id] as const)),
    baseline !== DEFAULT_BASELINE && ['--baseline', baseline],
    runs !== undefined && ['--runs', runs],
    budgetMs !== undefined && ['--budget', duration(budgetMs)],
    ['--warmup', warmup],
    ['--interval', duration(intervalMs)],
    ['--seed', seed],
    ignoreFailure && ['--ignore-failure'],
    costWithin !== undefined && ['--cost-within', `${costWithin * 100}%`],
    setup !== undefined && ['--setup', setup],
    prepare !== undefined && ['--prepare', prepare],
    cleanup !== undefined && ['--cleanup', cleanup],
    ...(service === undefined ? [] : serviceWords(service)),
  ];
  const lines = words
    .filter((word) => word !== false)
    .map(([option, value]) => (value === undefined ? option : `${option} ${quoted(String(value))}`));
  return ['malloc-backend compare', ...lines, `-- ${commandText(command)}`].join(' \\\n  ');
}

type Word = readonly [option: string, value?: string | number];

function serviceWords(service: ServiceOptions): Word[] {
  const {
    ready,
    load,
    rate,
    connections,
    duration: measured,
    warmup,
    idle,
    readyTimeout,
    loadTimeout,
  } = service;
  // The built-in load has a number of connections. Without a rate it sends as fast as these allow.
  const speed = rate ?? (connections === undefined ? undefined : 'max');
  const words: (Word | false)[] = [
    ['--service'],
    ['--ready', ready],
    ['--load', load],
    speed !== undefined && ['--rate', speed],
    connections !== undefined && ['--connections', connections],
    measured !== undefined && ['--duration', seconds(measured)],
    warmup !== undefined && ['--warmup-load', seconds(warmup)],
    ['--idle', seconds(idle)],
    readyTimeout !== undefined && ['--ready-timeout', seconds(readyTimeout)],
    loadTimeout !== undefined && ['--load-timeout', seconds(loadTimeout)],
  ];
  return words.filter((word) => word !== false);
}

const seconds = (value: number): string => duration(Math.round(value * 1000));

/** As the options take it: `10m`, `90s`, `20ms`. */
export function duration(ms: number): string {
  for (const [unit, size] of [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const)
    if (ms > 0 && ms % size === 0) return `${ms / size}${unit}`;
  return `${ms}ms`;
}
