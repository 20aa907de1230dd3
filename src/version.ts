import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** This package's version. Its manifest is above this module, and above the bundle that a command is. */
export function version(): string {
  for (let folder = __dirname; folder !== dirname(folder); folder = dirname(folder)) {
    const manifest = manifestIn(folder);
    if (manifest?.name === 'malloc-backend' && manifest.version !== undefined) return manifest.version;
  }
  return 'of unknown version';
}

function manifestIn(folder: string): { name?: string; version?: string } | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name?: string };
  } catch {
    return undefined;
  }
}
