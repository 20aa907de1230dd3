// When memory is given back by itself: the decision with a clock of the test's, and the cgroups that it looks at.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { memoryCgroups, nearest } from '../src/memory/cgroup.js';
import { type Bounds, begin, decide } from '../src/memory/decide.js';
import * as tools from './fixtures-ts/tools.js';
import { describe, test } from './support/suite.js';

const bounds: Bounds = { idle: 0.1, threshold: 0.9, interval: 100 };

/** What comes of looks one interval apart, each a utilisation and a pressure: `.`, `i`dle or `t`hreshold. */
function decisions(looks: readonly (readonly [number, number?])[], given: Partial<Bounds> = {}): string {
  const all = { ...bounds, ...given };
  let state = begin(all.interval);
  let now = 1e6;
  return looks
    .map(([utilization, pressure]) => {
      now += all.interval;
      const { state: next, release } = decide(state, { now, utilization, pressure }, all);
      state = next;
      return release?.[0] ?? '.';
    })
    .join('');
}

const times = <Value>(count: number, value: Value) => Array.from({ length: count }, () => value);

describe('decide()', () => {
  const quiet = [0.05] as const;
  const busy = [0.5] as const;

  test('idle: after two quiet looks, once', () => {
    assert.equal(decisions([quiet, quiet, quiet, quiet]), '.i..');
    assert.equal(decisions([quiet, busy, quiet, busy, quiet, quiet]), '.....i');
    assert.equal(decisions(times(5, busy)), '.....');
  });

  test('idle: again only after it was clearly busy', () => {
    const [barely, clearly] = [[0.15], [0.2]] as const;
    assert.equal(decisions([quiet, quiet, barely, quiet, quiet, quiet]), '.i....');
    assert.equal(decisions([quiet, quiet, clearly, quiet, quiet, quiet]), '.i..i.');
  });

  test('idle: never without it', () => {
    assert.equal(decisions(times(4, quiet), { idle: undefined }), '....');
  });

  const used = (pressure: number) => [0.5, pressure] as const;

  test('threshold: at once, and again after it has fallen', () => {
    assert.equal(decisions([used(0.89), used(0.9), used(0.91)]), '.t.');
    assert.equal(decisions([used(0.9), used(0.86), used(0.9)]), 't..', 'within the slack');
    assert.equal(decisions([used(0.9), used(0.84), used(0.9), used(0.9)]), 't.t.');
    assert.equal(decisions([used(0.9), [0.5], used(0.9)]), 't.t', 'the limit was taken away in between');
  });

  test('threshold: while it does not fall, after pauses that double up to 256 looks', () => {
    const found = decisions(times(1200, used(0.95)));
    const at = [...found.matchAll(/t/g)].map(({ index }) => index);
    const pauses = at.slice(1).map((look, index) => look - (at[index] ?? 0));
    assert.deepEqual(pauses, [4, 8, 16, 32, 64, 128, 256, 256, 256]);
    // Once it fell, the first pause is short again.
    const again = decisions([...times(20, used(0.95)), used(0.5), ...times(5, used(0.95))]);
    assert.equal(again.slice(20), '.t...t');
  });

  test('threshold: never without it, nor without a limit', () => {
    assert.equal(decisions(times(3, used(0.99)), { threshold: undefined }), '...');
    assert.equal(decisions(times(3, busy)), '...');
  });

  test('both: near the limit is the reason that counts, and idle comes when that waits', () => {
    assert.equal(decisions(times(6, [0, 0.95])), 'ti..t.');
  });
});

describe('the memory cgroup', () => {
  /** A tree of files under a folder of its own, and what `/proc/self/cgroup` would say. */
  function tree(name: string, membership: string, files: Record<string, string>) {
    const root = tools.scratch(name);
    for (const [file, content] of Object.entries(files)) {
      mkdirSync(dirname(`${root}/${file}`), { recursive: true });
      writeFileSync(`${root}/${file}`, content);
    }
    const folders = memoryCgroups(root, tools.file(`${name}.cgroup`, membership));
    const usage = async () => {
      const { usage, errors } = await nearest(folders);
      assert.deepEqual(errors, []);
      return usage;
    };
    return { found: folders.map((folder) => folder.slice(root.length)), usage };
  }

  test('of version 2: the nearest of those around the process', async () => {
    const { found, usage } = tree('v2', '0::/system/service\n', {
      'system/service/memory.current': '500\n',
      'system/service/memory.max': 'max\n',
      'system/service/memory.high': '1000\n',
      'system/service/memory.stat': 'anon 300\ninactive_file 100\nactive_file 100\n',
      'system/memory.current': '900\n',
      'system/memory.max': '1800\n',
      'system/memory.stat': 'inactive_file 0\n',
    });
    assert.deepEqual(found, ['/system/service', '/system']);
    assert.deepEqual(await usage(), { used: 900, limit: 1800 });
  });

  test('of version 2, without a limit', async () => {
    const { usage } = tree('free', '0::/\n', { 'memory.current': '500\n', 'memory.max': 'max\n' });
    assert.equal(await usage(), undefined);
  });

  test('of version 1, with the other controllers elsewhere', async () => {
    const { found, usage } = tree('v1', '9:cpu,cpuacct:/other\n4:memory:/a:b\n0::/\n', {
      'memory/a:b/memory.usage_in_bytes': '700\n',
      'memory/a:b/memory.limit_in_bytes': '1000\n',
      'memory/a:b/memory.stat': 'inactive_file 5\ntotal_inactive_file 200\n',
      'memory/memory.usage_in_bytes': '800\n',
      'memory/memory.limit_in_bytes': '9223372036854771712\n',
    });
    assert.deepEqual(found, ['/memory/a:b', '/memory']);
    assert.deepEqual(await usage(), { used: 500, limit: 1000 });
  });

  test('in a container, where the path is the host’s', async () => {
    const { found } = tree('container', '4:memory:/docker/abc\n', { 'memory/memory.usage_in_bytes': '1\n' });
    assert.deepEqual(found, ['/memory']);
  });

  test('that is not there', async () => {
    const { found, usage } = tree('none', '0::/\n', {});
    assert.deepEqual([found, await usage()], [[], undefined]);
    assert.deepEqual(memoryCgroups(tools.scratch('none'), tools.scratch('nothing')), []);
    const none = await nearest([tools.scratch('none')]);
    assert.equal(none.usage, undefined);
    assert.equal(none.errors[0]?.code, 'ERR_CGROUP_UNREADABLE');
  });

  test('one that cannot be read does not hide the others', async () => {
    const none = tools.scratch('none beside');
    tree('beside', '0::/\n', { 'memory.current': '500\n', 'memory.max': '1000\n' });
    const { usage, errors } = await nearest([none, tools.scratch('beside'), none]);
    assert.deepEqual(usage, { used: 500, limit: 1000 });
    assert.equal(errors.length, 2);
  });

  test('a limit that cannot be read is not taken for none', async () => {
    const { found } = tree('odd', '0::/a/b/c\n', {
      'a/b/c/memory.current': '500\n',
      'a/b/c/memory.max': 'much\n',
      'a/b/memory.current': '\n',
      'a/b/memory.max': '1000\n',
      'a/memory.current': '500\n',
      // A folder: it is there, and cannot be read.
      'a/memory.max/file': '',
      'memory.current': '500\n',
    });
    const { usage, errors } = await nearest(found.map((folder) => tools.scratch('odd') + folder));
    assert.equal(usage, undefined, 'without a file there is no limit');
    assert.deepEqual(
      errors.map(({ code }) => code),
      errors.map(() => 'ERR_CGROUP_UNREADABLE'),
    );
    const messages = errors.map(({ message }) => message);
    assert.equal(messages.length, 3);
    for (const pattern of [
      /memory\.max contains "much" instead of a number/,
      /memory\.current contains/,
      /EISDIR/,
    ])
      assert.ok(
        messages.some((message) => pattern.test(message)),
        `${messages}`,
      );
  });
});
