// The decision as a configuration file: what `--save` writes, and `--check` measures again.

import { readFileSync } from 'node:fs';
import { MallocBackendError } from '../errors.js';
import { readConfigFile } from '../process/config.js';
import schema = require('../process/config.schema.json');
import { type Schema, mismatch } from '../schema.js';
import { COST_WITHIN, GOALS, asCost } from './advice.js';
import { verdict } from './export/format.js';
import { METRIC } from './metrics.js';
import type { CompareOptions } from './options.js';
import type { CompareResults, Comparison, MeasureOptions, MetricName } from './results.js';
import { serviceSettings } from './service-options.js';
import { type SubjectOptions, subjectId, subjectOptions } from './subjects.js';
import { completeRounds } from './summary.js';

/** A metric of the decision divided by that of the baseline, with its 95 % interval. */
type Gain = Pick<Comparison, 'ratio' | 'low' | 'high'>;

/** The measurement behind a decision, as the configuration file has it. */
interface Measured {
  at: string;
  tool: string;
  command: string[];
  machine: Record<string, string | number | boolean>;
  versions: Record<string, string>;
  baseline: string;
  runs: number;
  gain: Partial<Record<MetricName, Gain>>;
  options: Partial<MeasureOptions>;
}

/**
 * The text of a configuration file with the subject that the results advise, and what was measured.
 *
 * @param subject - The id of another subject to decide on.
 *
 * @throws {@link MallocBackendError} `ERR_NO_GAIN`: no subject is better than the baseline
 */
export function renderConfig(results: CompareResults, subject = results.advice?.subject ?? null): string {
  const chosen = results.subjects.find(({ id }) => id === subject);
  const against = results.summaries.find((summary) => summary.subject === subject)?.against;
  if (chosen === undefined || against === undefined) {
    const { advice, baseline } = results;
    const why = advice?.sentence ?? 'there is no complete round';
    throw new MallocBackendError(
      'ERR_NO_GAIN',
      `there is no decision to save: nothing is better than ${baseline}. ${why}`,
    );
  }
  const { machine } = results;
  const { memory, cost } = GOALS[results.mode];
  const gain: Measured['gain'] = {};
  for (const name of [...memory, ...cost]) {
    const comparison = against[name];
    if (comparison === undefined) continue;
    const [ratio, low, high] = [comparison.ratio, comparison.low, comparison.high].map((value) =>
      Number(value.toPrecision(4)),
    );
    gain[name] = { ratio: ratio!, low: low!, high: high! };
  }
  const measured: Measured = {
    at: results.created,
    tool: results.tool,
    command: results.command,
    machine: { cpu: machine.cpu, cores: machine.cores, memory: machine.memory, kernel: machine.kernel },
    versions: { [chosen.backend]: chosen.version, libc: machine.libc, node: machine.node },
    baseline: results.baseline,
    runs: completeRounds(results),
    gain,
    options: results.options,
  };
  const { backend, preset, set } = chosen;
  const options = Object.keys(set).length === 0 ? {} : { set };
  return `${JSON.stringify({ backend, preset, ...options, measured }, null, 2)}\n`;
}

/** A decision that can be measured again. */
export interface Decision {
  subject: SubjectOptions;
  measured: Measured;
}

/**
 * Reads a configuration file that `--save` wrote.
 *
 * @throws {@link MallocBackendError} `ERR_CONFIG_INVALID`: also if the file has no measurement
 */
export function readDecision(file: string): Decision {
  const { backend, preset = 'balanced', set = {} } = readConfigFile(file);
  const content = JSON.parse(readFileSync(file, 'utf8')) as { measured?: Measured };
  const wrong = mismatch(content, schema as Schema);
  if (wrong !== undefined || content.measured === undefined) {
    throw new MallocBackendError(
      'ERR_CONFIG_INVALID',
      `${file} cannot be checked: ${wrong ?? 'it has no key "measured"; compare --save writes it'}`,
    );
  }
  const hasPresets = backend !== 'snmalloc';
  const subject = subjectOptions({
    backend: backend as SubjectOptions['backend'],
    preset: hasPresets ? preset : 'none',
    set,
  });
  return { subject, measured: content.measured };
}

/** The options that measure the decision again. */
export function repeated({ subject, measured }: Decision): CompareOptions {
  const { seed: _seed, service, ...options } = measured.options;
  return {
    ...options,
    ...(service === undefined ? {} : { service: serviceSettings(service) }),
    command: measured.command,
    baseline: measured.baseline,
    subjects: [subject],
  };
}

/**
 * What the decision gained when it was measured, and gains no more: one sentence for each metric.
 *
 * A gain is gone if the metric is not certainly below the baseline any more, or if more than half of the gain is lost. A
 * metric that cost nothing must cost nothing still.
 */
export function lostGains({ subject, measured }: Decision, results: CompareResults): string[] {
  const id = subjectId(subjectOptions(subject));
  const against = results.summaries.find((summary) => summary.subject === id)?.against ?? {};
  const lost: string[] = [];
  for (const name of Object.keys(measured.gain) as MetricName[]) {
    const [gain, comparison] = [measured.gain[name]!, against[name]];
    const { title } = METRIC[name];
    const was = `${title} was ${percent(gain.ratio)}`;
    if (comparison === undefined) {
      lost.push(`${was}, and was not measured this time`);
      continue;
    }
    const [before, now] = [asCost(name, gain), asCost(name, comparison)];
    if (before.high < 1 ? isGone(before, now) : isCostlier(before, now))
      lost.push(`${was}, and is ${verdict(comparison)}`);
  }
  return lost;
}

const isGone = (before: Gain, now: Comparison): boolean =>
  now.verdict !== 'lower' || now.low > 1 - (1 - before.ratio) / 2;

const isCostlier = (before: Gain, now: Comparison): boolean =>
  now.verdict === 'higher' && now.low > Math.max(1 + COST_WITHIN, before.high);

const percent = (ratio: number): string =>
  `${ratio < 1 ? '−' : '+'}${Math.abs((ratio - 1) * 100).toPrecision(2)} %`;
