// npm run bench -- [table…] [--runs N] [--quick] [--python PATH] [--program NAME] [--preset NAME] [--against CHECKOUT]
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { allocator, cache } from './allocator.js';
import { pagefault } from './blocks.js';
import { compare } from './compare.js';
import { doctor } from './doctor.js';
import { fork } from './fork.js';
import { idle } from './idle.js';
import { load } from './load.js';
import { comparisons, geometricMean, measureAgainst, root } from './measure.js';
import { pair } from './pair.js';
import { presets } from './presets.js';
import { profile } from './profile.js';
import { pythonCalls } from './python-calls.js';
import { pythonInstructions } from './python-instructions.js';
import { pythonPair } from './python-pair.js';
import { pythonRust } from './python-rust.js';
import { python } from './python.js';
import { release } from './release.js';
import { sampling } from './sampling.js';
import { start } from './start.js';
import { machine, markdown, type Table } from './table.js';
import { tune } from './tune.js';
import { upstream } from './upstream.js';
import { workloads } from './workloads.js';

const tables: Readonly<Record<string, Table>> = {
  pair,
  upstream,
  workloads,
  start,
  sampling,
  pagefault,
  presets,
  release,
  doctor,
  fork,
  compare,
  idle,
  load,
  python,
  'python-rust': pythonRust,
  'python-pair': pythonPair,
  tune,
  'python-calls': pythonCalls,
  allocator,
  cache,
  'python-instructions': pythonInstructions,
  profile,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    quick: { type: 'boolean', default: false },
    python: { type: 'string', default: '/usr/bin/python3' },
    program: { type: 'string' },
    preset: { type: 'string' },
    // The folder of another checkout that is built. Each figure is measured in both, in turn, and compared.
    against: { type: 'string' },
  },
});
const chosen = positionals.length > 0 ? positionals : Object.keys(tables);
const unknown = chosen.find((name) => !Object.hasOwn(tables, name));
const runs = values.runs === undefined ? undefined : Number(values.runs);
if (unknown !== undefined || (runs !== undefined && !(runs >= 1))) {
  console.error(
    `usage: npm run bench -- [${Object.keys(tables).join('|')}…] [--runs N] [--quick] [--python PATH] [--program NAME] [--preset NAME] [--against CHECKOUT]`,
  );
  process.exit(2);
}

if (values.against !== undefined) measureAgainst(values.against);

/** A table of the figures of both checkouts, with their ratios. */
function against(): string | undefined {
  const all = comparisons().map(({ subject, here, there }) => ({
    subject,
    here,
    there,
    ratio: here / there,
  }));
  if (all.length === 0) return undefined;
  const digits = (value: number): string => value.toPrecision(4);
  const rows = all.map(({ subject, here, there, ratio }) => [
    subject,
    digits(here),
    digits(there),
    ratio.toFixed(3),
  ]);
  rows.push(['geometric mean', '', '', geometricMean(all.map(({ ratio }) => ratio)).toFixed(3)]);
  return `### Against ${values.against}\n\n${markdown(['seconds of CPU time, or instructions', 'here', 'there', 'ratio'], rows)}`;
}

const results = join(root, 'bench/results');
mkdirSync(results, { recursive: true });
const head = machine();
console.log(`${head}\n`);
for (const name of chosen) {
  const { title, run } = tables[name]!;
  const progress = (message: string): void => {
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${name}: ${message}\r` : `${name}: ${message}\n`);
  };
  let text = `## ${title}\n`;
  console.log(text);
  const write = (part: string): void => {
    console.log(`${part}\n`);
    // Written at once: what comes later may fail, or be interrupted.
    text += `\n${part}\n`;
    writeFileSync(join(results, `${name}.md`), `${head}\n\n${text}`);
  };
  try {
    const { quick, python, program, preset } = values;
    for await (const part of run({ runs, quick, python, program, preset, progress })) write(part);
    const compared = against();
    if (compared !== undefined) write(compared);
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
