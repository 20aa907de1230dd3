// What the tests of `compare` share.

import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { CompareEvent, CompareOptions, CompareResults } from '../../index.js';
import { compare } from '../../index.js';
import { root } from '../support/shims.js';
import * as tools from './tools.js';

/** A folder of binaries in which `malloc-backend measure` is fake-launcher.ts. */
export function fakeBinaries(): string {
  const folder = tools.scratch('fake-binaries');
  mkdirSync(folder);
  for (const name of readdirSync(tools.binaries))
    if (name !== 'malloc-backend') symlinkSync(join(tools.binaries, name), join(folder, name));
  const fake = join(root, 'dist/test/fixtures-ts/fake-launcher.js');
  tools.file(
    'fake-binaries/malloc-backend',
    `#!/bin/sh
case "$1" in measure) exec '${process.execPath}' '${fake}' "$@" ;; esac
exec '${tools.native}' "$@"
`,
  );
  return folder;
}

/** All events of a comparison. */
export async function events(options: CompareOptions): Promise<CompareEvent[]> {
  const all: CompareEvent[] = [];
  for await (const event of compare(options)) all.push(event);
  return all;
}

/** The results at the end of a comparison. */
export async function results(options: CompareOptions): Promise<CompareResults> {
  const last = (await events(options)).at(-1);
  if (last?.type !== 'end') throw new Error(`the last event is ${last?.type}`);
  return last.results;
}
