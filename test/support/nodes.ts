// The Nodes that a test can use: the one that runs it, and others from npm.

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from './run.js';
import { root } from './shims.js';

/** The newest with long-term support. */
export const NEWEST = '24';
/** The major versions that the package supports. */
export const SUPPORTED = ['20', '22', '24', '26'] as const;

/** The program of a major version of Node, installed below dist where it is not there; or why there is none. */
export async function nodeOf(major: string): Promise<{ node: string } | { missing: string }> {
  if (process.versions.node.startsWith(`${major}.`)) return { node: process.execPath };
  const folder = join(root, 'dist', 'test-bin', `node-${major}`);
  const node = join(folder, 'node_modules', 'node', 'bin', 'node');
  if (!existsSync(node)) {
    // Each process has a folder of its own for that, and the first one that is done has the name.
    mkdirSync(dirname(folder), { recursive: true });
    const own = mkdtempSync(`${folder}.`);
    const { code, stderr } = await run('npm', ['install', '--prefix', own, `node@${major}`]);
    if (code !== 0) return { missing: `npm cannot install node@${major}: ${stderr.split('\n')[0] ?? ''}` };
    try {
      renameSync(own, folder);
    } catch {
      rmSync(own, { recursive: true });
    }
  }
  const { code, stderr } = await run(node, ['--version']);
  return code === 0 ? { node } : { missing: `Node ${major} does not run here: ${stderr}` };
}

/** {@link nodeOf} the newest with long-term support. */
export const newestNode = (): ReturnType<typeof nodeOf> => nodeOf(NEWEST);
