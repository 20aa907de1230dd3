// JSON Schemas beside the interfaces that they describe.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Schema } from '../../src/schema.js';
import { root } from './shims.js';

/** The keys of each interface of a file, and whether each may be absent. */
export function interfaces(file: string): Map<string, Map<string, boolean>> {
  const source = readFileSync(join(root, file), 'utf8').replace(/\/\*\*[^]*?\*\//g, '');
  return new Map(
    [...source.matchAll(/export interface (\w+) \{\n([^]*?)\n\}/g)].map(([, name, body]) => [
      name!,
      new Map([...body!.matchAll(/^ {2}(\w+)(\??):/gm)].map(([, key, mark]) => [key!, mark === '?'])),
    ]),
  );
}

/** The same of a schema. */
export const keys = ({ properties = {}, required = [] }: Schema): Map<string, boolean> =>
  new Map(Object.keys(properties).map((key) => [key, !required.includes(key)]));
