// The subjects: backends with their options, each with a name.

import { type ProcessBackend, backends, isBackend, parseBackend, shimFile } from '../backend.js';
import { invalidArgument, MallocBackendError } from '../errors.js';
import { switchedEnvironment } from '../process/environment.js';
import { type Preset, parsePreset } from '../process/presets.js';
import type { Subject } from './results.js';

/** A backend with a preset and single options, as {@link Subject} without what is found out. */
export interface SubjectOptions {
  backend: ProcessBackend;
  /** Default: `none`. */
  preset?: Preset;
  /** Single options of the allocator, over the preset. */
  set?: Readonly<Record<string, string | number | boolean>>;
}

/** What is compared where nothing else is named. */
export const DEFAULT_SUBJECTS: readonly string[] = [
  'default/none',
  'default/low-rss',
  'jemalloc/balanced',
  'jemalloc/low-rss',
  'mimalloc/balanced',
  'mimalloc/low-rss',
  'snmalloc/none',
];

export const DEFAULT_BASELINE = 'default/none';

/** The subject of an id: `jemalloc/low-rss`, `jemalloc/low-rss,narenas=1`. */
export function parseSubject(id: string): Required<SubjectOptions> {
  const [head = '', ...pairs] = id.split(',');
  const [name, preset = 'none', ...rest] = head.split('/');
  if (rest.length > 0)
    throw invalidArgument(
      `a subject is <backend>/<preset>, and ${JSON.stringify(id)} has ${rest.length + 1} slashes`,
    );
  const set: Record<string, string> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1)
      throw invalidArgument(
        `the options of a subject are key=value, and ${JSON.stringify(id)} has ${JSON.stringify(pair)}`,
      );
    set[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return { backend: processBackend(name), preset: parsePreset(preset), set };
}

function processBackend(name: unknown): ProcessBackend {
  // What serves no process, the look at the subject says with the reason.
  return parseBackend(name) as ProcessBackend;
}

/** The same for an object, or an id. */
export function subjectOptions(given: string | SubjectOptions): Required<SubjectOptions> {
  if (typeof given === 'string') return parseSubject(given);
  if (typeof given !== 'object' || given === null)
    throw invalidArgument('a subject is a string like jemalloc/low-rss, or an object with a backend');
  const { preset = 'none', set = {} } = given;
  return { backend: processBackend(given.backend), preset: parsePreset(preset), set };
}

/** Its name: `jemalloc/low-rss,narenas=1`. */
export function subjectId({ backend, preset, set }: Required<SubjectOptions>): string {
  return [`${backend}/${preset}`, ...Object.entries(set).map(([key, value]) => `${key}=${value}`)].join(',');
}

/**
 * The subject with what is found out about it. Looks whether the backend takes the options.
 *
 * @throws {@link MallocBackendError} as {@link environment}
 */
export function resolveSubject(given: Required<SubjectOptions>, env: NodeJS.ProcessEnv): Subject {
  const { backend, preset, set } = given;
  switchedEnvironment(backend, { preset, set, env }, { probe: true, tell: () => {} });
  const version = backends().find(({ backend: name }) => name === backend)?.version ?? '';
  const texts = Object.fromEntries(Object.entries(set).map(([key, value]) => [key, String(value)]));
  return { id: subjectId(given), backend, preset, set: texts, version, library: shimFile(backend) };
}

/** What the command line says about subjects. */
export interface SubjectWords {
  backends: readonly string[];
  presets: readonly string[];
  /** `backend.key=value`. */
  set: readonly string[];
  subjects: readonly string[];
}

/**
 * Backends × presets: the default's part where either is not named, and everything that is named. With none of all, undefined.
 */
export function subjectsOf({ backends, presets, set, subjects }: SubjectWords): SubjectOptions[] | undefined {
  const options = set.map(parseSet);
  if (backends.length + presets.length + options.length + subjects.length === 0) return undefined;
  const products =
    backends.length + presets.length > 0 || subjects.length === 0
      ? product(backends.map(processBackend), presets.map(parsePreset))
      : [];
  const all = [...products, ...subjects.map(parseSubject)];
  for (const { backend, key } of options)
    if (!all.some((subject) => subject.backend === backend))
      throw invalidArgument(`--set ${backend}.${key} sets nothing: no subject is on ${backend}`);
  return all.map((subject) => {
    const own = options.filter(({ backend }) => backend === subject.backend);
    return {
      ...subject,
      set: { ...Object.fromEntries(own.map(({ key, value }) => [key, value])), ...subject.set },
    };
  });
}

function product(names: readonly ProcessBackend[], presets: readonly Preset[]): Required<SubjectOptions>[] {
  const standard = DEFAULT_SUBJECTS.map(parseSubject);
  if (presets.length === 0)
    return standard.filter(({ backend }) => names.length === 0 || names.includes(backend));
  const all = names.length > 0 ? names : [...new Set(standard.map(({ backend }) => backend))];
  // snmalloc has no presets: it is compared as it is, once, where it is not named with a preset alone.
  return all.flatMap((backend) =>
    backend === 'snmalloc' && names.length === 0
      ? [{ backend, preset: 'none' as const, set: {} }]
      : presets.map((preset) => ({ backend, preset, set: {} })),
  );
}

function parseSet(text: string): { backend: ProcessBackend; key: string; value: string } {
  const [, name = '', key = '', value = ''] = /^([^.=]+)\.([^=]+)=(.*)$/s.exec(text) ?? [];
  if (!isBackend(name))
    throw invalidArgument(
      `--set needs a backend before the key, as in jemalloc.narenas=1, not ${JSON.stringify(text)}`,
    );
  return { backend: processBackend(name), key, value };
}

/** musl has no options, and so no presets; a package may lack a library. */
export const isUnavailable = (error: unknown): boolean =>
  error instanceof MallocBackendError &&
  ['ERR_UNKNOWN_PRESET', 'ERR_BACKEND_UNAVAILABLE', 'ERR_SHIM_MISSING'].includes(error.code);
