// compare --save and --check: the decision becomes a file, the file is used, and a gain that is gone is noticed.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import * as tools from './fixtures-ts/tools.js';
import { cannotPreload, notGlibc } from './support/shims.js';
import { describe, test } from './support/suite.js';

const { command } = tools;

/** It takes so many MiB and milliseconds of CPU time; with the options of the preset it takes others. */
const program = (plain: number, tuned: number, [plainMs, tunedMs] = [5 * plain, 5 * tuned]): string => `
  #include <stdlib.h>
  #include <string.h>
  #include <time.h>
  int main(void) {
    int is_tuned = getenv("MALLOC_ARENA_MAX") != NULL;
    size_t size = (size_t)(is_tuned ? ${tuned} : ${plain}) << 20;
    char *block = malloc(size);
    memset(block, 1, size);
    while (clock() < (is_tuned ? ${tunedMs} : ${plainMs}) * (CLOCKS_PER_SEC / 1000)) {}
    return block[size / 2] == 1 ? 0 : 1;
  }`;

const compare = (...words: string[]) =>
  command(['compare', '--backends', 'default', '--presets', 'low-rss', '--runs', '8', ...words]);

describe('a decision', { skip: cannotPreload || notGlibc }, () => {
  const file = tools.scratch('decision.json');

  test('is saved with what was measured, and used', async () => {
    const binary = tools.cc('decided', program(60, 20));
    const { code, stderr, stdout } = await compare('--save', file, '--', binary);
    assert.equal(code, 0, stderr + stdout);
    const config = JSON.parse(readFileSync(file, 'utf8')) as {
      backend: string;
      preset: string;
      measured: {
        command: string[];
        baseline: string;
        runs: number;
        gain: Record<string, { ratio: number; high: number }>;
      };
    };
    const { backend, preset, measured } = config;
    assert.deepEqual([backend, preset], ['default', 'low-rss']);
    assert.deepEqual([measured.command, measured.baseline, measured.runs], [[binary], 'default/none', 8]);
    const { ratio, high } = measured.gain['treePeakRss'] ?? assert.fail(JSON.stringify(measured.gain));
    assert.ok(ratio > 0.25 && ratio < 0.45 && high < 0.5, `${ratio} ${high}`);
    const used = await command(['run', '--config', file, '--', 'printenv', 'MALLOC_ARENA_MAX']);
    assert.equal(used.stdout, '1\n', used.stderr);
  });

  test('is measured again, and holds', async () => {
    const { code, stderr, stdout } = await command(['compare', '--check', file]);
    assert.equal(code, 0, stderr + stdout);
    assert.match(stderr, /the gain that .*decision\.json states is there/);
  });

  test('is an error once the gain is gone', async () => {
    tools.cc('decided', program(60, 58));
    const { code, stderr } = await command(['compare', '--check', file]);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /states is gone: peak RSS was −6\d %, and is /);
    assert.match(stderr, /Measure again with compare --save/);
  });

  test('is not saved where nothing is better', async () => {
    const none = tools.scratch('none.json');
    const { code, stderr } = await compare('--save', none, '--', tools.cc('same', program(20, 20)));
    assert.equal(code, 1, stderr);
    assert.match(stderr, /there is no decision to save: nothing is better than default\/none/);
    assert.equal(existsSync(none), false);
  });

  test('is saved at a price that the user accepts, from the results that are there', async () => {
    const [results, dear] = [tools.scratch('dear.json'), tools.scratch('dear-decision.json')];
    const words = [
      '--export-json',
      results,
      '--save',
      dear,
      '--',
      tools.cc('dear', program(60, 20, [300, 600])),
    ];
    const refused = await compare(...words);
    assert.equal(refused.code, 1, refused.stderr);
    const [, percent = ''] =
      /With --cost-within (\d+)% the advice is default low-rss/.exec(refused.stderr) ?? [];
    assert.ok(Number(percent) > 50 && Number(percent) < 150, refused.stderr);
    const resumed = ['compare', '--resume', results, '--save', dear];
    const less = await command([...resumed, '--cost-within', `${Number(percent) - 2}%`]);
    assert.equal(less.code, 1, less.stderr);
    const { code, stderr } = await command([...resumed, '--cost-within', `${percent}%`]);
    assert.equal(code, 0, stderr);
    const { preset, measured } = JSON.parse(readFileSync(dear, 'utf8'));
    assert.equal(preset, 'low-rss');
    assert.equal(measured.options.costWithin, Number(percent) / 100);
    const wrong = await command([...resumed, '--cost-within', 'much']);
    assert.equal(wrong.code, 2, wrong.stderr);
    assert.match(wrong.stderr, /--cost-within must be a percentage like 3%, not "much"/);
  });

  test('cannot be checked without its measurement, and names nothing of its own beside the file', async () => {
    const bare = tools.scratch('bare.json');
    writeFileSync(bare, '{ "backend": "jemalloc" }');
    const { code, stderr } = await command(['compare', '--check', bare]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /cannot be checked: it has no key "measured"; compare --save writes it/);
    const both = await command(['compare', '--check', file, '--backends', 'jemalloc']);
    assert.equal(both.code, 2, both.stderr);
  });

  test('is resumed and checked with the input of the first runs', async () => {
    const [input, results] = [tools.file('input.txt', 'hello'), tools.scratch('with-input.json')];
    const words = ['--subject', 'jemalloc/none', '--warmup', '0', '--input', input, '--export-json', results];
    const program = ['sh', '-c', '[ "$(cat)" = hello ]'];
    const first = await command(['compare', ...words, '--runs', '1', '--', ...program]);
    assert.equal(first.code, 0, first.stderr);
    const { code, stderr } = await command(['compare', '--resume', results, '--runs', '2']);
    assert.equal(code, 0, stderr);
    const other = await command(['compare', '--resume', results, '--runs', '3', '--input', input]);
    assert.equal(other.code, 2, other.stderr);
  });
});
