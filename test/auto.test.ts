// autoRelease() in real processes: that it acts, says so, can be stopped, and keeps nobody from ending.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { type AutoRelease, type MallocBackendErrorCode, autoRelease } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { run, succeed } from './support/run.js';
import { cannotPreload, notGlibc, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

/** A cgroup of version 2 with a limit of 1000. */
function cgroup(name: string, used: number): string {
  const folder = tools.scratch(name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/memory.max`, '1000\n');
  writeFileSync(`${folder}/memory.current`, `${used}\n`);
  return folder;
}

const module = (lines: string) => [
  '--input-type=module',
  '-e',
  `import * as m from ${JSON.stringify(tools.index)}; import * as fs from 'node:fs'; import { once } from 'node:events'; ${lines}`,
];

// musl cannot release: on it nothing of this begins.
describe('autoRelease()', { skip: cannotPreload || notGlibc }, () => {
  test('near the limit, again after it fell and rose, and not once it is stopped', async () => {
    const folder = cgroup('pressure', 950);
    const found = await tools.evaluate<Record<string, unknown>[]>(
      `import * as fs from 'node:fs';
      import { once } from 'node:events';
      const use = (used) => fs.writeFileSync(${JSON.stringify(folder)} + '/memory.current', used + '\\n');
      const auto = m.autoRelease({ idle: false, interval: 5, cgroup: ${JSON.stringify(folder)} });
      const keepAlive = setInterval(() => {}, 1e6);
      const seen = [(await once(auto, 'release'))[0]];
      // It stays near the limit: again after a pause.
      seen.push((await once(auto, 'release'))[0]);
      auto.stop();
      auto.stop();
      auto.on('release', () => seen.push('after the end'));
      use(100);
      const other = m.autoRelease({ idle: false, interval: 5, cgroup: ${JSON.stringify(folder)} });
      other.once('release', () => seen.push('far from the limit'));
      await m.releaseMemory();
      other[Symbol.dispose]();
      use(990);
      const last = m.autoRelease({ idle: false, interval: 5, cgroup: ${JSON.stringify(folder)} });
      seen.push((await once(last, 'release'))[0]);
      clearInterval(keepAlive);
      show(seen);`,
    );
    assert.equal(found.length, 3, JSON.stringify(found));
    for (const { reason, released, before, after, durationMs } of found) {
      assert.equal(reason, 'threshold');
      assert.equal(released, Math.max(0, Number(before) - Number(after)));
      assert.ok(Number(durationMs) > 0);
    }
  });

  test('when idle', async () => {
    const reason = await tools.evaluate(
      `import { once } from 'node:events';
      const keepAlive = setInterval(() => {}, 1e6);
      const [{ reason }] = await once(m.autoRelease({ idle: 0.99, threshold: false, interval: 20 }), 'release');
      clearInterval(keepAlive);
      show(reason);`,
    );
    assert.equal(reason, 'idle');
  });

  test('does not keep a process from ending', async () => {
    // The watchdog of `succeed` would end it.
    const { stdout } = await succeed(
      process.execPath,
      module("m.autoRelease({ interval: 1000 }); process.on('exit', () => console.log('ended'))"),
    );
    assert.equal(stdout, 'ended\n');
  });

  test('a cgroup that cannot be read is an error event, and without a listener one warning', async () => {
    const folder = tools.scratch('no cgroup');
    const options = `{ idle: false, interval: 5, cgroup: ${JSON.stringify(folder)} }`;
    const code = await tools.evaluate(
      `import { once } from 'node:events';
      const keepAlive = setInterval(() => {}, 1e6);
      const auto = m.autoRelease(${options});
      const [{ name, code, message }] = await new Promise((resolve) => auto.once('error', (...all) => resolve(all)));
      clearInterval(keepAlive);
      show({ name, code, message });`,
    );
    const { name, code: stable, message } = code as Record<string, string>;
    assert.deepEqual([name, stable], ['MallocBackendError', 'ERR_CGROUP_UNREADABLE']);
    assert.ok(message?.includes(folder), message);

    const silent = await run(
      process.execPath,
      module(
        `m.autoRelease(${options});
        const keepAlive = setInterval(() => {}, 1e6);
        let looks = 0;
        process.once('warning', () => {
          // Some looks later there is still the one.
          const timer = setInterval(() => { if (++looks === 5) { clearInterval(timer); clearInterval(keepAlive); } }, 10);
        });`,
      ),
    );
    assert.equal(silent.code, 0);
    assert.equal(
      silent.stderr.match(/MallocBackendWarning: autoRelease: cannot read/g)?.length,
      1,
      silent.stderr,
    );
  });

  test('when idle also with a cgroup that cannot be read', async () => {
    const options = `{ idle: 0.99, interval: 20, cgroup: ${JSON.stringify(tools.scratch('no cgroup'))} }`;
    const found = await tools.evaluate(
      `const keepAlive = setInterval(() => {}, 1e6);
      const codes = new Set();
      const auto = m.autoRelease(${options});
      auto.on('error', ({ code }) => codes.add(code));
      const reason = await new Promise((resolve) => auto.once('release', ({ reason }) => resolve(reason)));
      clearInterval(keepAlive);
      show([reason, ...codes]);`,
    );
    assert.deepEqual(found, ['idle', 'ERR_CGROUP_UNREADABLE']);
  });

  test('an error event is one of this package, whatever it was', async () => {
    // The addon fails as it never should.
    const fails = `const { dlopen } = process;
      process.dlopen = (module, ...rest) => {
        dlopen.call(process, module, ...rest);
        module.exports.linux.releaseMemory = async () => { throw new TypeError('out of order'); };
      };`;
    const found = await tools.evaluate(
      `const keepAlive = setInterval(() => {}, 1e6);
      const auto = m.autoRelease({ idle: false, interval: 5, cgroup: ${JSON.stringify(cgroup('failing', 950))} });
      const error = await new Promise((resolve) => auto.once('error', resolve));
      auto.stop();
      clearInterval(keepAlive);
      show([error instanceof m.MallocBackendError, error.code, error.cause?.name, error.message.includes('out of order')]);`,
      { nodeArgs: ['--require', tools.file('fails.cjs', fails)] },
    );
    assert.deepEqual(found, [true, 'ERR_CANNOT_RELEASE', 'TypeError', true]);
  });

  test('what a listener throws is an uncaught exception, and the next look comes', async () => {
    // Near its limit it is released anew after a pause; beside it is what cannot be read.
    const options = (folder: string) => `{ idle: false, interval: 5, cgroup: ${JSON.stringify(folder)} }`;
    const found = await tools.evaluate(
      `const keepAlive = setInterval(() => {}, 1e6);
      const seen = {};
      const enough = new Promise((resolve) => process.on('uncaughtException', ({ message }, origin) => {
        const key = origin + ' ' + message;
        seen[key] = (seen[key] ?? 0) + 1;
        if (Object.keys(seen).length === 2 && Object.values(seen).every((count) => count >= 2)) resolve();
      }));
      const near = m.autoRelease(${options(cgroup('throwing', 950))});
      const unreadable = m.autoRelease(${options(tools.scratch('no cgroup'))});
      near.on('release', () => { throw new Error('from release'); });
      unreadable.on('error', () => { throw new Error('from error'); });
      await enough;
      near.stop();
      unreadable.stop();
      clearInterval(keepAlive);
      show(Object.keys(seen).sort());`,
    );
    assert.deepEqual(found, ['uncaughtException from error', 'uncaughtException from release']);
  });

  test('the listeners are typed as docs/memory.md uses them', () => {
    const codes: MallocBackendErrorCode[] = [];
    // Compiled, and never called.
    const listen = (auto: AutoRelease) => auto.on('error', (error) => codes.push(error.code));
    assert.equal(listen.length, 1);
  });

  test('where memory cannot be given back it says so at once', async () => {
    const found = await tools.evaluate<{ code: string }>('show(attempt(() => m.autoRelease()))', {
      env: { LD_PRELOAD: shim('snmalloc') },
    });
    assert.equal(found.code, 'ERR_CANNOT_RELEASE');
  });

  test('refuses what makes no sense', () => {
    for (const [options, pattern] of [
      [{ idle: 0 }, /idle must be a share/],
      [{ idle: 1.5 }, /idle must be a share/],
      [{ idle: true }, /idle must be a share.*true/],
      [{ threshold: NaN }, /threshold must be a share.*NaN/],
      [{ threshold: '0.5' }, /threshold must be a share.*"0.5"/],
      [{ interval: 0 }, /interval must be milliseconds/],
      [{ interval: Infinity }, /interval must be milliseconds/],
      [{ idle: false, threshold: false }, /would do nothing/],
      [{ treshold: 0.8 }, /unknown option "treshold".*: idle, threshold, interval, cgroup$/],
      [{ cgroup: '' }, /cgroup must be the folder.*""/],
      [{ cgroup: 5 }, /cgroup must be the folder.*5/],
      [{ cgroup: null }, /cgroup must be the folder.*null/],
      [null, /options must be an object, not null/],
    ] as const)
      tools.refuses(() => autoRelease(options as unknown as object), 'ERR_INVALID_ARGUMENT', pattern);
  });
});
