/**
 * `npm run demo`: two real programs on four allocators, each proven, in one table.
 *
 * The Node program compresses, hashes and parses with worker threads; the Python program tokenises and counts with
 * threads. Both work on the largest text files that come with this package's own dependencies.
 */

import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type ProcessBackend, type Preset, type Proof, spawn } from '../../index.js';

const root = join(import.meta.dirname, '../../..');
const files = join(root, 'node_modules');

const programs: { name: string; command: string; args: string[] }[] = [
  { name: 'node', command: process.execPath, args: [join(import.meta.dirname, 'service.js'), files] },
  { name: 'python3', command: 'python3', args: [join(root, 'examples/demo/words.py'), files] },
];

/** The baseline is libc as it comes; the others have the preset that `run` gives them. (snmalloc has no options.) */
const contenders: { backend: ProcessBackend; preset: Preset }[] = [
  { backend: 'default', preset: 'none' },
  { backend: 'jemalloc', preset: 'balanced' },
  { backend: 'mimalloc', preset: 'balanced' },
  { backend: 'snmalloc', preset: 'none' },
];

/** What each program prints of itself as its last line. */
interface Usage {
  /** A digest of what it computed: the same under every allocator. */
  result: string;
  cpuSeconds: number;
  peakRssBytes: number;
}

interface Run extends Usage {
  proof: Proof;
  wallSeconds: number;
}

async function measure(
  command: string,
  args: string[],
  contender: (typeof contenders)[number],
): Promise<Run> {
  const start = performance.now();
  const child = spawn(command, args, { ...contender, stdio: ['ignore', 'pipe', 'inherit'] });
  const [proof, output, code] = await Promise.all([
    child.applied,
    text(child.stdout),
    new Promise((resolve) => child.once('close', resolve)),
  ]);
  if (code !== 0) throw new Error(`${command} ended with ${String(code)} on ${contender.backend}`);
  const usage = JSON.parse(output.trimEnd().split('\n').at(-1) ?? '') as Usage;
  return { ...usage, proof, wallSeconds: (performance.now() - start) / 1000 };
}

function isInPath(command: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, command)));
}

const rows = [['program', 'backend', 'proof: malloc is that of', 'wall s', 'CPU s', 'peak RSS MB']];
for (const { name, command, args } of programs) {
  if (name !== 'node' && !isInPath(command)) {
    rows.push([name, '', `skipped: ${command} is not in PATH`, '', '', '']);
    continue;
  }
  let expected: string | undefined;
  for (const contender of contenders) {
    process.stderr.write(`${name} on ${contender.backend} … `);
    const { proof, result, ...usage } = await measure(command, args, contender);
    process.stderr.write(`${usage.wallSeconds.toFixed(1)} s\n`);
    expected ??= result;
    if (result !== expected) throw new Error(`${name} computed something else on ${contender.backend}`);
    const owner = proof.owner.split('/').at(-1) ?? '';
    rows.push([
      name,
      contender.backend,
      contender.backend === 'default' ? owner : `${owner} (${proof.version})`,
      usage.wallSeconds.toFixed(1),
      usage.cpuSeconds.toFixed(1),
      (usage.peakRssBytes / 1e6).toFixed(0),
    ]);
  }
}

const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
const line = (row: string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
const [head, ...body] = rows;
console.log(
  [line(head!), `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...body.map(line)].join('\n'),
);
console.log(
  `\nNode ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}; one run each, so read the times with care.`,
);
