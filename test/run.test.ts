// run(): a program on a backend up to its end, in one promise.

import assert from 'node:assert/strict';
import { MallocBackendError, type RunOptions, run } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { SWITCHING, cannotPreload, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

const piped = (more: object = {}): RunOptions => ({ backend: 'mimalloc', stdio: 'pipe', ...more });

async function refusal(outcome: Promise<unknown>): Promise<MallocBackendError> {
  const error = await outcome.then(
    () => assert.fail('it resolved'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof MallocBackendError, String(error));
  return error;
}

describe('run()', { skip: cannotPreload }, () => {
  for (const backend of ['default', ...SWITCHING] as const) {
    test(`resolves with the proof and the end, on ${backend}`, async () => {
      const words = ['-c', 'echo out; echo err >&2; cat; exit 3'];
      const { proof, ...end } = await run('sh', words, piped({ backend }));
      assert.deepEqual(end, { code: 3, signal: null, stdout: 'out\n', stderr: 'err\n' });
      assert.deepEqual([proof.backend, proof.library], [backend, shim(backend)]);
    });
  }

  test('a program that a signal ends is no rejection', async () => {
    const { code, signal } = await run('sh', ['-c', 'kill -TERM $$'], piped());
    assert.deepEqual([code, signal], [null, 'SIGTERM']);
  });

  test('rejects alone: what spawn throws, what the system refuses, what the caller aborts', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', note);
    try {
      assert.equal((await refusal(run('no-such-program', [], piped()))).code, 'ERR_PROGRAM_NOT_FOUND');
      assert.equal((await refusal(run('true', [], {} as RunOptions))).code, 'ERR_UNKNOWN_BACKEND');
      assert.equal((await refusal(run('true', [], undefined as never))).code, 'ERR_UNKNOWN_BACKEND');
      const long = await refusal(run('/bin/true', ['x'.repeat(2 ** 23)], piped()));
      assert.equal(long.code, 'ERR_EXEC_FAILED');
      assert.match(long.message, /^cannot start \/bin\/true: .*E2BIG/);
      const abort = new AbortController();
      const waiting = run('sh', ['-c', 'exec sleep 1000'], piped({ signal: abort.signal }));
      setImmediate(() => abort.abort());
      const aborted = await refusal(waiting);
      assert.equal(aborted.code, 'ERR_ABORTED');
      assert.equal((aborted.cause as Error).name, 'AbortError');
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      process.off('unhandledRejection', note);
    }
    assert.deepEqual(unhandled, []);
  });

  test('a program on which the switch had no effect is ended', async () => {
    const folder = tools.copyOfBinaries('not-libraries-run', ['libmalloc_backend_mimalloc.so']);
    tools.ignoredLibrary('not-libraries-run/libmalloc_backend_mimalloc.so');
    // It would never end by itself: its input stays open.
    const outcome = await tools.evaluate<{ code: string; message: string }>(
      `const options = { backend: 'mimalloc', stdio: ['ignore', 'inherit', 'ignore'] };
       const { code, message } = await m.run('tail', ['-f', '/dev/null'], options).catch((error) => error);
       show({ code, message })`,
      { env: { MALLOC_BACKEND_BINARY_DIR: folder } },
    );
    assert.equal(outcome.code, 'ERR_NOT_APPLIED');
    assert.match(outcome.message, /tail does not run on mimalloc: the dynamic loader ignored the library/);
  });
});
