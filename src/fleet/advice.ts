// What the reader should do.

import { type Goals, atAPrice, named, outlook, stay, winner } from '../compare/advice.js';
import { count, verdict } from '../compare/export/format.js';
import type { Advice, Comparison, Summary, Warning } from '../compare/results.js';
import { FLEET_METRIC, type FleetMetric, type FleetVariant } from './results.js';
import { podsNeeded } from './verdicts.js';
import { CONFOUNDING } from './warnings.js';

/** CPU time for each request where it is known of all variants: with more requests a pod has more of CPU time. */
const goals = (hasRequests: boolean): Goals<FleetMetric> => ({
  memory: ['meanRss', 'peakRss'],
  cost: [hasRequests ? 'cpuPerRequest' : 'cpu'],
});

export function adviceOf(
  variants: readonly FleetVariant[],
  summaries: readonly Summary<FleetMetric>[],
  warnings: readonly Warning[],
): Advice {
  const others = summaries.filter(({ against }) => against !== undefined);
  const goal = goals(others.every(({ against }) => against!.cpuPerRequest !== undefined));
  const figures = ({ against }: Summary<FleetMetric>): string =>
    [...goal.memory, ...goal.cost]
      .filter((name) => against![name] !== undefined)
      .map((name) => `${FLEET_METRIC[name].title} ${verdict(against![name]!)}`)
      .join(', ');
  const found = winner(others, goal);
  if (found !== undefined)
    return {
      subject: found.subject,
      sentence: `${named(found.subject)}: ${figures(found)}.${doubts(found.subject, warnings)}`,
    };
  const baseline = variants[0]!;
  const needed = podsNeeded(others.length);
  const few = variants.filter(({ pods }) => pods < needed);
  const { near, isOpen, isBetter } = outlook(others, goal);
  const soFar = figures(near) === '' ? '' : ` So far ${named(near.subject)}: ${figures(near)}.`;
  if (few.length > 0) {
    const counts = variants.map(({ id, pods }) => `${named(id)} has ${pods}`).join(', ');
    return {
      subject: null,
      sentence: `Not enough pods: ${counts}, and a verdict needs ${needed} of each.${soFar}`,
    };
  }
  if (isBetter) return { subject: null, sentence: atAPrice(baseline.id, near.subject, figures(near)) };
  if (!isOpen) return { subject: null, sentence: `${stay(baseline.id)}${doubts(near.subject, warnings)}` };
  const more = goal.memory.flatMap((name) => moreOf(near.against![name]));
  const factor =
    more.length === 0 ? '' : ` About ${Math.ceil(Math.max(...more))} times as many pods would decide it.`;
  return { subject: null, sentence: `Nothing is certain: the pods differ too much.${soFar}${factor}` };
}

/** By how much more pods an open interval would become narrow enough: its width falls with the root of their number. */
function moreOf(comparison: Comparison | undefined): number[] {
  if (comparison?.verdict !== 'undecided') return [];
  const [value, low, high] = [comparison.ratio, comparison.low, comparison.high].map(Math.log);
  const [least, most] = [Math.log(1.01), Math.log(1.03)];
  const room = Math.max(Math.abs(value!) - least, most - Math.abs(value!));
  return [((high! - low!) / 2 / room) ** 2];
}

function doubts(subject: string, warnings: readonly Warning[]): string {
  const codes = warnings.filter(
    (each) => CONFOUNDING.has(each.code) && (each.subject ?? subject) === subject,
  );
  return codes.length === 0
    ? ''
    : ` The pods differ in more than the allocator, so this is not proven: see ${count(codes.length, 'warning')} below.`;
}
