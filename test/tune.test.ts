// tune: the search finds options that a preset does not have, says what each does, keeps within its bounds, and says so where
// nothing is better.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { type TuneResults, tune } from '../index.js';
import type { Run } from '../src/compare/results.js';
import { Record as TuneRecord, score } from '../src/tune/score.js';
import { SPACE } from '../src/tune/space.js';
import * as tools from './fixtures-ts/tools.js';
import { cannotPreload, notGlibc } from './support/shims.js';
import { describe, test } from './support/suite.js';

const { command, rejects } = tools;

/** A program whose memory and CPU time the variables of glibc's malloc decide. */
const program = (mebibytes: string, steps = '0'): string => `
  #include <stdlib.h>
  #include <string.h>
  static int is(const char *name, const char *value) {
    const char *found = getenv(name);
    return found != NULL && strcmp(found, value) == 0;
  }
  int main(void) {
    int arena = is("MALLOC_ARENA_MAX", "1"), trim = is("MALLOC_TRIM_THRESHOLD_", "131072");
    (void)arena, (void)trim;
    size_t size = (size_t)(${mebibytes}) << 20;
    char *block = malloc(size);
    memset(block, 1, size);
    for (volatile long step = 60000000L * (long)(${steps}); step > 0; step--);
    return block[size / 2] == 1 ? 0 : 1;
  }`;

async function tuned(name: string, source: string, more: object = {}): Promise<TuneResults> {
  const options = {
    command: [tools.cc(name, source)],
    goal: 'rss',
    backends: ['default'],
    seed: 5,
    ...more,
  } as const;
  for await (const event of tune({ budgetMs: 20_000, ...options }))
    if (event.type === 'end') return event.tuned;
  return assert.fail('there is no end');
}

describe('tune', { skip: cannotPreload || notGlibc }, () => {
  test('finds what no preset has, and says what each option does', async () => {
    const { winner, preset, overPreset, mattered, results, sentence } = await tuned(
      'both',
      program('arena && trim ? 12 : arena ? 40 : 60'),
    );
    assert.equal(preset, 'default/low-rss', sentence);
    assert.match(winner ?? sentence, /^default\/low-rss,.*trim_threshold=131072/);
    assert.ok(overPreset !== undefined && overPreset.high < 0.6, sentence);
    const trim = mattered.find(({ key }) => key === 'trim_threshold') ?? assert.fail(sentence);
    assert.equal(trim.without.verdict, 'higher');
    for (const { key, without } of mattered)
      if (key !== 'trim_threshold') assert.notEqual(without.verdict, 'higher', key);
    assert.equal(results.advice?.subject, winner);
    assert.ok((results.advice?.dockerfile ?? []).some((line) => line.includes('MALLOC_TRIM_THRESHOLD_')));
  });

  test('does not take what costs more CPU time than the bound allows', async () => {
    const { winner, sentence } = await tuned('dear', program('trim ? 12 : arena ? 40 : 60', '1 + 3 * trim'));
    assert.equal(winner, 'default/low-rss', sentence);
    const free = await tuned('dear', program('trim ? 12 : arena ? 40 : 60', '1 + 3 * trim'), {
      cpuWithin: 9,
    });
    assert.match(free.winner ?? free.sentence, /trim_threshold=131072/);
  });

  test('says so where nothing is better', async () => {
    const { winner, sentence } = await tuned('same', program('20'));
    assert.equal(winner, null);
    assert.match(sentence, /^Stay with default\/none: none of \d+ sets of options lowers peak RSS/);
  });

  test('saves the winner from the command line', async () => {
    const file = tools.scratch('tuned.json');
    const binary = tools.cc('both', program('arena && trim ? 12 : arena ? 40 : 60'));
    const words = ['tune', '--for', 'rss', '--backends', 'default', '--budget', '20s', '--seed', '5'];
    const { code, stdout, stderr } = await command([...words, '--save', file, '--', binary]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /What the options do:\n {2}.*trim_threshold=131072: without this option \+/s);
    const { backend, preset, set, measured } = JSON.parse(readFileSync(file, 'utf8')) as Record<
      string,
      never
    >;
    assert.deepEqual([backend, preset], ['default', 'low-rss']);
    assert.equal(set?.['trim_threshold'], '131072');
    assert.ok(measured);
    const nothing = tools.scratch('not-tuned.json');
    const none = await command([...words, '--save', nothing, '--', tools.cc('same', program('20'))]);
    assert.deepEqual([none.code, existsSync(nothing)], [1, false], none.stderr);
    assert.match(none.stderr, /there is no decision to save/);
  });

  test('prefers a set that keeps the bounds to any that breaks one', () => {
    const of = (rss: number, cpu: number) => {
      const run = (treePeakRss: number, user: number) => ({ treePeakRss, user, system: 0 }) as Run;
      const record = new TuneRecord();
      record.add(run(rss, cpu), run(100, 1), ['treePeakRss', 'cpu']);
      return score(record, { metric: 'treePeakRss', bounds: [{ metric: 'cpu', within: 0.03 }] });
    };
    assert.ok(of(80, 1) < of(60, 1.031), 'a little more CPU time than the bound');
    assert.ok(of(60, 1.029) < of(80, 1));
    assert.ok(of(60, 1.04) < of(60, 1.05));
    assert.equal(score(undefined, { metric: 'cpu', bounds: [] }), Infinity);
  });

  test('refuses what does nothing', async () => {
    const first = async (options: object) => tune(options as never).next();
    const command = ['true'];
    await rejects(
      first({ command, goal: 'rrs' }),
      'ERR_INVALID_ARGUMENT',
      /goal must be rss, cpu or latency/,
    );
    await rejects(first({ command, goal: 'latency' }), 'ERR_INVALID_ARGUMENT', /needs a service/);
    await rejects(first({ command, goal: 'cpu', cpuWithin: 0.1 }), 'ERR_INVALID_ARGUMENT', /does nothing/);
    await rejects(
      first({ command, goal: 'rss', backends: ['rust'] }),
      'ERR_INVALID_ARGUMENT',
      /must be of default/,
    );
    await rejects(first({ command, goal: 'rss', runs: 3 }), 'ERR_INVALID_ARGUMENT', /unknown option "runs"/);
    const { code, stderr } = await tools.command(['tune', '--for', 'rss', '--cpu-within', 'x', '--', 'true']);
    assert.equal(code, 2);
    assert.match(stderr, /--cpu-within must be a percentage like 3%, not "x"/);
  });

  test('has a reason for each option, and values that the allocator takes', async () => {
    for (const [backend, dimensions] of Object.entries(SPACE))
      for (const { key, values, reason } of dimensions) {
        assert.ok(reason.length > 20, key);
        for (const value of values) {
          const { code, stderr } = await command([
            'env',
            backend,
            '--preset',
            'none',
            '--set',
            `${key}=${value}`,
          ]);
          assert.equal(code, 0, stderr);
        }
      }
  });
});
