// `malloc-backend compare` as it is shipped, with the real launcher.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { readResults } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { run } from './support/run.js';
import { cannotPreload, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

/** Allocates as many MiB as its argument says, for a while. */
const PROGRAM = `#include <stdlib.h>
#include <time.h>
int main(int argc, char **argv) {
  size_t size = (size_t)atoi(argv[1]) << 20;
  volatile char *memory = malloc(size);
  for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
  struct timespec wait = {0, 120000000};
  nanosleep(&wait, NULL);
  return 0;
}`;

const compare = (...words: string[]) => tools.command(['compare', ...words]);

describe('malloc-backend compare', { skip: cannotPreload }, () => {
  test('measures with proof, and writes every export', async () => {
    const program = tools.cc('allocates', PROGRAM);
    const files = ['json', 'csv', 'markdown'].map((format) => tools.scratch(`result.${format}`));
    const exports = ['--export-json', files[0]!, '--export-csv', files[1]!, '--export-markdown', files[2]!];
    const words = [
      '--runs',
      '2',
      '--interval',
      '5ms',
      '--backends',
      'jemalloc,mimalloc',
      '--presets',
      'low-rss',
    ];
    const { code, stdout, stderr } = await compare(...words, ...exports, '--', program, '64');
    assert.equal(code, 0, stderr);
    const results = readResults(files[0]!);
    assert.deepEqual(
      results.subjects.map(({ id }) => id),
      ['default/none', 'jemalloc/low-rss', 'mimalloc/low-rss'],
    );
    assert.ok(results.finished);
    assert.deepEqual(results.command, [program, '64']);
    assert.equal(results.runs.length, 6);
    for (const { subject, proof, treePeakRss, wall, samples } of results.runs) {
      const backend = subject.split('/')[0] as 'default' | 'jemalloc' | 'mimalloc';
      assert.equal(proof.backend, backend);
      assert.equal(proof.library, shim(backend));
      assert.ok(treePeakRss > 64 * 2 ** 20 && treePeakRss < 96 * 2 ** 20, `${treePeakRss}`);
      assert.ok(wall > 0.12, `${wall}`);
      assert.ok(samples.length > 0);
    }
    assert.match(stdout, /^subject +time +CPU +peak RSS/);
    assert.match(stdout, /\ndefault\/none \(baseline\) /);
    assert.match(stdout, /\njemalloc\/low-rss .*undecided/);
    assert.ok(!`${stdout}${stderr}`.includes('\u001b'), 'no colour without a terminal');
    assert.match(stderr, /^malloc-backend \S+ compares 3 subjects, 2 rounds: /);
    assert.ok(stderr.endsWith(`results: ${files[0]}\n`));
    const rows = readFileSync(files[1]!, 'utf8').trimEnd().split('\r\n');
    assert.equal(rows.length, 7);
    assert.match(rows[0]!, /^subject,round,at,user,system,wall,cpu,peakRss,treePeakRss,meanRss,/);
    assert.equal(new Set(rows.map((row) => row.split(',').length)).size, 1);
    const markdown = readFileSync(files[2]!, 'utf8');
    assert.match(markdown, /^\| subject +\| time \|/);
    assert.match(markdown, /\n\| jemalloc\/low-rss \| /);
  });

  test('without --export-json keeps the results in a file of its own, from which exports can be made', async () => {
    const { stderr } = await compare('--runs', '1', '--warmup', '0', '--backends', 'snmalloc', '--', 'true');
    const file = /^results: (.*)$/m.exec(stderr)?.[1] ?? '';
    assert.ok(existsSync(file), stderr);
    const before = readFileSync(file, 'utf8');
    const csv = tools.scratch('later.csv');
    const again = await compare('--resume', file, '--export-csv', csv);
    assert.equal(again.code, 0, again.stderr);
    assert.equal(readFileSync(csv, 'utf8').trimEnd().split('\r\n').length, 3);
    assert.equal(readFileSync(file, 'utf8'), before);
    await run('rm', ['-r', file.replace(/\/[^/]+$/, '')]);
  });

  test('gives the program its input, and shows its output where it is told to', async () => {
    const input = tools.file('input', 'what goes in\n');
    const one = [
      '--runs',
      '1',
      '--warmup',
      '0',
      '--backends',
      'snmalloc',
      '--export-json',
      tools.scratch('io.json'),
    ];
    const shown = await compare(...one, '--input', input, '--show-output', '--', 'cat');
    assert.equal(shown.stdout.split('what goes in').length, 3, shown.stderr);
    const hidden = await compare(...one, '--input', input, '--', 'cat');
    assert.ok(!hidden.stdout.includes('what goes in'));
    const empty = await compare(...one, '--', 'sh', '-c', 'test -z "$(cat)"');
    assert.equal(empty.code, 0, empty.stderr);
  });

  test('compares options of one backend with a baseline that is named', async () => {
    const file = tools.scratch('options.json');
    const words = ['--runs', '1', '--warmup', '0', '--export-json', file, '--baseline', 'jemalloc/low-rss'];
    const { code, stderr } = await compare(
      ...words,
      '--subject',
      'jemalloc/low-rss,narenas=1',
      '--set',
      'jemalloc.tcache_max=64',
      '--',
      'true',
    );
    assert.equal(code, 0, stderr);
    const { baseline, subjects } = readResults(file);
    assert.equal(baseline, 'jemalloc/low-rss');
    assert.deepEqual(
      subjects.map(({ id }) => id),
      ['jemalloc/low-rss', 'jemalloc/low-rss,tcache_max=64,narenas=1'],
    );
  });

  test('refuses wrong words, with the status of wrong usage', async () => {
    const cases: [words: string[], code: number, message: RegExp][] = [
      [[], 2, /the program is missing; write: malloc-backend compare -- node build.js/],
      [['--bakends', 'jemalloc', '--', 'true'], 2, /unknown option --bakends. Did you mean --backends\?/],
      [['--runs', 'ten', '--', 'true'], 2, /--runs must be an integer, not "ten"/],
      [['--runs', '0', '--', 'true'], 2, /runs must be an integer of at least 1, not 0/],
      [['--budget', '10', '--', 'true'], 2, /--budget must be a time like 500ms, 90s, 10m or 2h, not "10"/],
      [
        ['--backends', 'jemaloc', '--', 'true'],
        2,
        /unknown memory allocator backend "jemaloc". Did you mean jemalloc\?/,
      ],
      [['--presets', 'fast', '--', 'true'], 2, /unknown preset "fast"/],
      [
        ['--set', 'narenas=1', '--', 'true'],
        2,
        /--set needs a backend before the key, as in jemalloc.narenas=1/,
      ],
      [['--set', 'jemalloc.narena=1', '--', 'true'], 2, /narena/],
      [
        ['--backends', 'mimalloc', '--set', 'jemalloc.narenas=1', '--', 'true'],
        2,
        /no subject is on jemalloc/,
      ],
      [['--', 'no-such-program'], 127, /"no-such-program", is not found in PATH/],
      [['--resume', '/none.json'], 1, /\/none.json does not hold results of compare: it cannot be read/],
    ];
    for (const [words, code, message] of cases) {
      const said = await compare(...words);
      assert.deepEqual([said.code, said.stdout], [code, ''], `${words.join(' ')}: ${said.stderr}`);
      assert.match(said.stderr, message);
    }
  });

  test('without Node says how to call it', async () => {
    const { code, stderr } = await run(tools.native, ['compare', '--', 'true']);
    assert.equal(code, 126);
    assert.match(
      stderr,
      /compare needs Node, and this program was started without Node; write: npx malloc-backend compare/,
    );
  });

  test('leaves nothing of its own in the environment of the program', async () => {
    const log = tools.scratch('environment');
    const script = `env > '${log}'`;
    await compare('--runs', '1', '--warmup', '0', '--backends', 'snmalloc', '--', 'sh', '-c', script);
    assert.doesNotMatch(readFileSync(log, 'utf8'), /MALLOC_BACKEND_(NODE|COMMANDS)/);
  });

  const script = tools.which('script');
  test(
    'shows on a terminal how far it is, and colours',
    { skip: script === undefined && 'script(1) is not installed' },
    async () => {
      const program = tools.cc('terminal', PROGRAM);
      const json = tools.scratch('terminal.json');
      const words = `compare --runs 2 --backends snmalloc --export-json ${json} -- ${program} 8`;
      const { stdout } = await run(
        script!,
        ['-qec', `'${process.execPath}' '${tools.cli}' ${words}`, '/dev/null'],
        {
          env: { TERM: 'xterm' },
        },
      );
      assert.match(stdout, /warm-up · (default|snmalloc)\/none/);
      assert.match(stdout, /round 2 of 2 · (default|snmalloc)\/none · \d runs? · \d+ s left/);
      assert.match(stdout, /\u001b\[1msubject/);
      const plain = await run(
        script!,
        ['-qec', `NO_COLOR=1 '${process.execPath}' '${tools.cli}' ${words}`, '/dev/null'],
        {
          env: { TERM: 'xterm' },
        },
      );
      assert.ok(!plain.stdout.includes('\u001b[1m'));
    },
  );
});
