import type { CompareResults } from '../../results.js';
import { DEFAULT_BASELINE, DEFAULT_SUBJECTS } from '../../subjects.js';
import { quoted } from '../markdown.js';

/** The program and its arguments as a shell takes them. */
export const commandText = (command: readonly string[]): string => command.map(quoted).join(' ');

/** The command that measures the same again. */
export function commandLine({ subjects, baseline, options, command }: CompareResults): string {
  const ids = subjects.map(({ id }) => id);
  const isStandard =
    ids.length === DEFAULT_SUBJECTS.length && ids.every((id, at) => id === DEFAULT_SUBJECTS[at]);
  const { runs, budgetMs, warmup, seed, intervalMs, ignoreFailure, setup, prepare, cleanup, service } =
    options;
  const words: (readonly [option: string, value?: string | number] | false)[] = [
    ...(isStandard ? [] : ids.map((id) => ['--subject', id] as const)),
    baseline !== DEFAULT_BASELINE && ['--baseline', baseline],
    runs !== undefined && ['--runs', runs],
    budgetMs !== undefined && ['--budget', duration(budgetMs)],
    ['--warmup', warmup],
    ['--interval', duration(intervalMs)],
    ['--seed', seed],
    ignoreFailure && ['--ignore-failure'],
    setup !== undefined && ['--setup', setup],
    prepare !== undefined && ['--prepare', prepare],
    cleanup !== undefined && ['--cleanup', cleanup],
    service !== undefined && ['--service'],
    service !== undefined && ['--ready', service.ready],
    service !== undefined && ['--load', service.load],
    service?.connections !== undefined && ['--rate', service.rate ?? 'max'],
    service?.connections !== undefined && ['--connections', service.connections],
    service?.duration !== undefined && ['--duration', duration(service.duration * 1000)],
    service?.warmup !== undefined && ['--warmup-load', duration(service.warmup * 1000)],
    service !== undefined && ['--idle', duration(service.idle * 1000)],
    service?.readyTimeout !== undefined && ['--ready-timeout', duration(service.readyTimeout * 1000)],
    service?.loadTimeout !== undefined && ['--load-timeout', duration(service.loadTimeout * 1000)],
  ];
  const lines = words
    .filter((word) => word !== false)
    .map(([option, value]) => (value === undefined ? option : `${option} ${quoted(String(value))}`));
  return ['malloc-backend compare', ...lines, `-- ${commandText(command)}`].join(' \\\n  ');
}

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
