// Reads a profile with the decoder of Datadog's, so that what writes it is not what checks it.

import { gunzipSync } from 'node:zlib';
import { Profile } from 'pprof-format';

export interface Frame {
  name: string;
  file: string;
  line: number;
  /** The file of the module that has the native function; empty for JavaScript. */
  module: string;
}

export interface Sample {
  /** The innermost frame first. */
  frames: Frame[];
  allocObjects: number;
  allocSpace: number;
  inuseObjects: number;
  inuseSpace: number;
  labels: Record<string, string | number>;
}

export interface Decoded {
  types: string[];
  shown: string;
  interval: number;
  comments: string[];
  samples: Sample[];
  modules: { file: string; buildId: string; start: number; limit: number }[];
}

export function decode(bytes: Uint8Array): Decoded {
  const profile = Profile.decode(gunzipSync(bytes));
  const text = (index: number | bigint) => profile.stringTable.strings[Number(index)] ?? '';
  const byId = <T extends { id: number | bigint }>(all: T[]) =>
    new Map(all.map((one) => [Number(one.id), one]));
  const functions = byId(profile.function);
  const locations = byId(profile.location);
  const mappings = byId(profile.mapping);
  const frame = (id: number | bigint): Frame => {
    const location = locations.get(Number(id));
    const line = location?.line[0];
    const found = line && functions.get(Number(line.functionId));
    if (location === undefined || line === undefined || found === undefined)
      throw new Error(`no function at ${id}`);
    const mapping = mappings.get(Number(location.mappingId));
    return {
      name: text(found.name),
      file: text(found.filename),
      line: Number(line.line),
      module: mapping === undefined ? '' : text(mapping.filename),
    };
  };
  return {
    types: profile.sampleType.map(({ type, unit }) => `${text(type)}/${text(unit)}`),
    shown: text(profile.defaultSampleType),
    interval: Number(profile.period),
    comments: profile.comment.map(text),
    samples: profile.sample.map(({ locationId, value, label }) => {
      const [allocObjects = 0, allocSpace = 0, inuseObjects = 0, inuseSpace = 0] = value.map(Number);
      return {
        frames: locationId.map(frame),
        allocObjects,
        allocSpace,
        inuseObjects,
        inuseSpace,
        labels: Object.fromEntries(
          label.map(({ key, str, num }) => [text(key), Number(str) === 0 ? Number(num) : text(str)]),
        ),
      };
    }),
    modules: profile.mapping.map(({ filename, buildId, memoryStart, memoryLimit }) => ({
      file: text(filename),
      buildId: text(buildId),
      start: Number(memoryStart),
      limit: Number(memoryLimit),
    })),
  };
}

/** The samples with a function of that name on the stack. */
export function under({ samples }: Decoded, name: string): Sample[] {
  return samples.filter(({ frames }) => frames.some((frame) => frame.name === name));
}

export const sum = (samples: Sample[], value: 'allocSpace' | 'inuseSpace' | 'inuseObjects' = 'inuseSpace') =>
  samples.reduce((all, sample) => all + sample[value], 0);
