// numpy in a virtual environment, in a child and in this process, on each backend.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { spawnPython } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { assertEstimate } from './support/estimate.js';
import { decode, under } from './support/pprof.js';
import { BACKENDS, noPython, pythons } from './support/pythons.js';
import { root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const PROGRAM = `
import numpy, sys
a = numpy.arange(250_000, dtype=float).reshape(500, 500)
product = a @ numpy.eye(500)
big = numpy.ones(256 << 20, dtype=numpy.uint8)
answer = [int(product.sum()), int(big[::4096].sum()), numpy.__version__, sys.prefix]
del big
print(answer, flush=True)
`;

/** Makes the environment once; a machine without the package index skips, and says so. */
function prepare(): { venv: string } | { skip: string } {
  if (noPython !== false) return { skip: noPython };
  const venv = join(root, 'dist', 'test-venv');
  const interpreter = join(venv, 'bin', 'python3');
  const failures: string[] = [];
  for (const { file } of pythons.filter(({ minor }) => minor >= 10)) {
    try {
      if (!existsSync(interpreter)) execFileSync(file, ['-m', 'venv', '--clear', venv], { stdio: 'pipe' });
      const args = [
        '-m',
        'pip',
        'install',
        '--quiet',
        '--disable-pip-version-check',
        '--only-binary=:all:',
        'numpy',
      ];
      execFileSync(interpreter, args, { stdio: 'pipe', env: environment({}) });
      return { venv };
    } catch (error) {
      failures.push(`${file}: ${(error as Error).message.split('\n').slice(0, 3).join(' ')}`);
      execFileSync('rm', ['-rf', venv]);
    }
  }
  return { skip: `numpy could not be installed: ${failures.join('; ')}` };
}

const prepared = prepare();
const skip = 'skip' in prepared ? prepared.skip : false;
const venv = 'venv' in prepared ? prepared.venv : '';

describe('numpy', { skip }, () => {
  const expected = (text: string) => {
    assert.match(text, /^\[31249875000, 65536, '[\d.]+', '/);
    assert.ok(text.includes(`'${venv}'`), text);
  };

  for (const backend of BACKENDS) {
    for (const all of [false, true]) {
      const options = { allocatorBackend: backend, allocatorMem: all, allocatorObj: all };

      test(`in a child: ${backend}, ${all ? 'raw, mem and obj' : 'raw'}`, async () => {
        const python = join(venv, 'bin', 'python3');
        const child = spawnPython(['-c', PROGRAM], { ...options, python, env: environment({}) });
        let [stdout, stderr] = ['', ''];
        child.stdout?.on('data', (chunk) => (stdout += chunk));
        child.stderr?.on('data', (chunk) => (stderr += chunk));
        const closed = once(tools.watched(child), 'close');
        assert.equal((await child.applied).domains.raw?.backend, backend === 'default' ? undefined : backend);
        assert.deepEqual(await closed, [0, null], stderr);
        expected(stdout);
      });

      test(`in this process: ${backend}, ${all ? 'raw, mem and obj' : 'raw'}`, async () => {
        const { text, domains } = await tools.evaluate<{
          text: string;
          domains: { raw: { backend: string } | null };
        }>(
          `const python = await m.PythonInterpreter.start(${JSON.stringify({ ...options, venv })});
           await python.exec(${JSON.stringify(PROGRAM.replace('print(answer, flush=True)', ''))});
           show({ text: await python.eval('repr(answer)'), domains: python.info().domains });`,
        );
        assert.equal(domains.raw?.backend, backend === 'default' ? undefined : backend);
        expected(text);
      });
    }
  }

  test('in the heap profile of a child', { skip: process.arch !== 'x64' && 'on x64 only' }, async () => {
    const profile = tools.scratch('numpy.pb.gz');
    const program = tools.file(
      'numpy_leak.py',
      `import numpy
def leak():
    return numpy.ones(12_500)
kept = [leak() for _ in range(400)]
`,
    );
    const env = environment({ MALLOC_BACKEND_PROFILE_INTERVAL: '65536' });
    const child = spawnPython([program], { python: join(venv, 'bin', 'python3'), profile, env });
    const closed = once(tools.watched(child), 'close');
    await child.applied;
    assert.deepEqual(await closed, [0, null]);
    const samples = under(decode(readFileSync(profile)), 'leak');
    assertEstimate(samples, 400 * 100_000, 100_000, 65_536, 'arrays');
    for (const { frames } of samples.filter(({ inuseSpace }) => inuseSpace >= 100_000)) {
      assert.ok(
        frames.some(({ module }) => /numpy/.test(module)),
        frames.map(({ name }) => name).join(' < '),
      );
      const place = frames.find(({ name }) => name === 'leak')!;
      assert.deepEqual([place.file, place.line], [program, 3]);
    }
  });
});
