// The sets of options that are tried: the presets first, and then the neighbours of the best.

import type { ProcessBackend } from '../backend.js';
import type { Random } from '../compare/random.js';
import { type SubjectOptions, subjectId } from '../compare/subjects.js';
import { presets } from '../process/presets.js';
import { SPACE } from './space.js';

export type Candidate = Required<SubjectOptions>;

/** Every preset of the backends. */
export function presetCandidates(backends: readonly ProcessBackend[]): Candidate[] {
  return backends.flatMap((backend) => {
    const names = presets[backend] === undefined ? [] : (['low-rss', 'balanced', 'throughput'] as const);
    return (['none', ...names] as const).map((preset) => ({ backend, preset, set: {} }));
  });
}

/** The value that the preset gives the option. */
function presetValue({ backend, preset }: Candidate, key: string): string | undefined {
  const table = preset === 'none' ? undefined : presets[backend]?.[preset];
  return table?.find((option) => option.key === key)?.value;
}

/** The candidate with another value of one option. */
export function withOption(candidate: Candidate, key: string, value: string): Candidate {
  const { [key]: _old, ...rest } = candidate.set;
  const isPresets = presetValue(candidate, key) === value;
  return { ...candidate, set: isPresets ? rest : { ...rest, [key]: value } };
}

/** The candidate without one of its own options. */
export function withoutOption(candidate: Candidate, key: string): Candidate {
  const { [key]: _old, ...rest } = candidate.set;
  return { ...candidate, set: rest };
}

/** All candidates that differ from this one in the value of one option, in a random order. */
export function neighbours(candidate: Candidate, next: Random): Candidate[] {
  const all = SPACE[candidate.backend].flatMap(({ key, values }) =>
    values.map((value) => withOption(candidate, key, value)),
  );
  const own = subjectId(candidate);
  const different = all.filter((other) => subjectId(other) !== own);
  return different
    .map((other) => ({ other, at: next() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ other }) => other);
}
