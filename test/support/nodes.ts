// The Nodes that a test can use: the one that runs it, and the newest with long-term support, from npm.

import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.js';
import { root } from './shims.js';

export const NEWEST = '24';

/** The program of Node 24, installed below dist where it is not there; or why there is none. */
export async function newestNode(): Promise<{ node: string } | { missing: string }> {
  if (process.versions.node.startsWith(`${NEWEST}.`)) return { node: process.execPath };
  const folder = join(root, 'dist', 'test-bin', `node-${NEWEST}`);
  const node = join(folder, 'node_modules', 'node', 'bin', 'node');
  if (!existsSync(node)) {
    mkdirSync(folder, { recursive: true });
    const { code, stderr } = await run('npm', ['install', '--prefix', folder, `node@${NEWEST}`]);
    if (code !== 0) return { missing: `npm cannot install node@${NEWEST}: ${stderr.split('\n')[0] ?? ''}` };
  }
  const { code, stderr } = await run(node, ['--version']);
  return code === 0 ? { node } : { missing: `Node ${NEWEST} does not run here: ${stderr}` };
}
