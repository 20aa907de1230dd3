import type { CompareResults, Run, Subject, Summary } from '../../results.js';
import { memoryMetric } from './metrics.js';
import { type Look, looks } from './looks.js';
import { isNumber } from './numbers.js';

/** A subject with all that the report shows of it. */
export interface Row {
  /** Its place in the report, from 1. */
  number: number;
  id: string;
  subject: Subject;
  runs: readonly Run[];
  summary: Summary | undefined;
  look: Look;
  isBaseline: boolean;
  isAdvised: boolean;
}

/** The subjects, the one with the least memory first. Those without a figure are last. */
export function rowsOf(results: CompareResults): Row[] {
  const summaries = new Map(results.summaries.map((summary) => [summary.subject, summary]));
  const runs = new Map<string, Run[]>(results.subjects.map(({ id }) => [id, []]));
  for (const run of results.runs) runs.get(run.subject)?.push(run);
  const metric = memoryMetric(results)?.name;
  const memory = ({ id }: Subject): number => {
    const median = metric && summaries.get(id)?.metrics[metric]?.median;
    return isNumber(median) ? median : Infinity;
  };
  const styles = looks(results.subjects);
  const place = (a: Subject, b: Subject) => (memory(a) === memory(b) ? 0 : memory(a) - memory(b));
  return [...results.subjects].sort(place).map((subject, at) => ({
    number: at + 1,
    id: subject.id,
    subject,
    runs: runs.get(subject.id) ?? [],
    summary: summaries.get(subject.id),
    look: styles.get(subject)!,
    isBaseline: subject.id === results.baseline,
    isAdvised: subject.id === results.advice?.subject,
  }));
}
