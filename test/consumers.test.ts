// What the tools of those who use the package make of it: tracers of files, bundlers, test runners. (TypeScript:
// test/package.test.ts, and attw in npm run lint.)

import { nodeFileTrace } from '@vercel/nft';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { build } from 'esbuild';
import * as tools from './fixtures-ts/tools.js';
import { packAll } from './support/registry.js';
import { run, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, platform, root } from './support/shims.js';
import { beforeAll, describe, test } from './support/suite.js';

const skip = cannotPreload || (tools.which('npm') === undefined && 'npm is not installed');
const consumer = tools.scratch('consumer');
/** Tools that no other test needs, with a lock file of their own. */
const folder = join(root, 'test', 'consumers');

/** Proves that the addon loads and that a program runs on jemalloc. */
const PROOF = `spawn('true', { backend: 'jemalloc' }).applied.then(({ backend }) => console.log(backend, backends().length));`;
const ESM = `import { backends, spawn } from 'malloc-backend';\n${PROOF}\n`;
const CJS = `const { backends, spawn } = require('malloc-backend');\n${PROOF}\n`;
const SAID = 'jemalloc 5\n';

const inConsumer = (name: string) => join(consumer, name);
const write = (name: string, content: string) => tools.file(`consumer/${name}`, content);
const node = (file: string) => run(process.execPath, [file], { cwd: dirname(file) });

beforeAll(async () => {
  if (skip !== false) return;
  for (const each of ['', 'jest', 'vitest', 'bundle', 'webpack']) mkdirSync(join(consumer, each));
  write('package.json', '{ "name": "consumer", "private": true }');
  const tarballs = (await packAll(tools.scratch('packed')))
    .filter(({ manifest }) => ['malloc-backend', `@malloc-backend/${platform}`].includes(manifest.name))
    .map(({ tarball }) => tarball);
  const env = { npm_config_cache: tools.scratch('cache') };
  await succeed('npm', ['install', '--offline', '--no-save', '--no-audit', ...tarballs], {
    cwd: consumer,
    env,
  });
  symlinkSync(join(root, 'node_modules', 'prom-client'), inConsumer('node_modules/prom-client'));
  // npm writes down what it has installed.
  const modified = (file: string) => statSync(join(folder, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (modified('node_modules/.package-lock.json') < modified('package-lock.json'))
    execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], {
      cwd: folder,
      stdio: 'pipe',
    });
});

describe('@vercel/nft', { skip }, () => {
  for (const [name, content] of [
    ['traced.mjs', ESM],
    ['traced.cjs', CJS],
  ] as const)
    test(`finds the binaries for ${name}, and the copy runs`, async () => {
      const file = write(name, content);
      const { fileList } = await nodeFileTrace([file], { base: consumer });
      const copy = tools.scratch(`copy-of-${name}`);
      for (const each of fileList) cpSync(inConsumer(each), join(copy, each), { recursive: true });
      const binaries = join(copy, 'node_modules', '@malloc-backend', platform);
      for (const backend of ['default', ...SWITCHING, 'python_hook'])
        assert.ok(existsSync(join(binaries, `libmalloc_backend_${backend}.so`)), backend);
      const { stdout, stderr } = await node(join(copy, name));
      assert.deepEqual([stdout, stderr], [SAID, '']);
      const args = ['run', 'mimalloc', 'cat', '/proc/self/maps'];
      assert.match(
        (await succeed(join(binaries, 'malloc-backend'), args)).stdout,
        /copy-of-.*libmalloc_backend_mimalloc/,
      );
    });
});

describe('bundled', { skip }, () => {
  const REMEDY =
    /malloc-backend (has no binary|cannot find its binaries).*[Ii]n a bundler, keep the package external.*ERR_BINARY_MISSING/s;
  const bundle = async (name: string, content: string, options: object) => {
    const outfile = inConsumer(`bundle/${name}`);
    await build({
      stdin: { contents: content, resolveDir: consumer },
      outfile,
      bundle: true,
      platform: 'node',
      logLevel: 'error',
      ...options,
    });
    return node(outfile);
  };

  for (const [format, extension] of [
    ['cjs', 'cjs'],
    ['esm', 'mjs'],
  ] as const) {
    test(`by esbuild, as ${format}, with the package external`, async () => {
      const { stdout, stderr } = await bundle(`external.${extension}`, ESM, {
        format,
        external: ['malloc-backend'],
      });
      assert.deepEqual([stdout, stderr], [SAID, '']);
    });

    test(`by esbuild, as ${format}, an error names the remedy`, async () => {
      for (const entry of ['malloc-backend', 'malloc-backend/prometheus']) {
        const content =
          entry === 'malloc-backend'
            ? ESM
            : `import { collectMallocMetrics } from '${entry}'; collectMallocMetrics();`;
        const external = ['prom-client'];
        const { code, stdout, stderr } = await bundle(`inside.${extension}`, content, { format, external });
        assert.deepEqual([code, stdout], [1, '']);
        assert.match(stderr, REMEDY);
      }
    });
  }

  test('by webpack: external it works, inside an error names the remedy', async () => {
    write('entry.cjs', CJS);
    const config = (externals: string) => `module.exports = {
      target: 'node', mode: 'production', entry: './entry.cjs', ${externals}
      output: { path: __dirname + '/webpack', filename: 'bundle.cjs' },
    };`;
    const webpack = async (externals: string) => {
      write('webpack.config.cjs', config(externals));
      const cli = join(folder, 'webpack.mjs');
      await succeed(process.execPath, [cli, inConsumer('webpack.config.cjs')], { cwd: consumer });
      return node(inConsumer('webpack/bundle.cjs'));
    };
    assert.equal((await webpack(`externals: { 'malloc-backend': 'commonjs malloc-backend' },`)).stdout, SAID);
    const { code, stderr } = await webpack('');
    assert.equal(code, 1);
    assert.match(stderr, REMEDY);
  });

  test('by rollup, as an ES module, an error names the remedy', async () => {
    write('entry.mjs', ESM);
    const cli = join(folder, 'rollup.mjs');
    await succeed(process.execPath, [cli, inConsumer('entry.mjs'), inConsumer('bundle/rollup.mjs')], {
      cwd: consumer,
    });
    const { code, stderr } = await node(inConsumer('bundle/rollup.mjs'));
    assert.equal(code, 1);
    assert.match(stderr, REMEDY);
  });
});

describe('test runners', { skip }, () => {
  const bin = (name: string) => join(folder, 'node_modules', '.bin', name);

  test('Jest, in CommonJS', async () => {
    write(
      'jest/one.test.js',
      `const { MallocBackendError, activeBackend, parseBackend, spawn } = require('malloc-backend');
       test('works', async () => {
         expect(activeBackend().kind).toBe('libc');
         expect(() => parseBackend('none')).toThrow(MallocBackendError);
         expect((await spawn('true', { backend: 'jemalloc' }).applied).backend).toBe('jemalloc');
       });`,
    );
    write('jest/package.json', '{ "jest": { "testEnvironment": "node" } }');
    const { stderr } = await succeed(bin('jest'), ['--rootDir', inConsumer('jest')], {
      cwd: inConsumer('jest'),
    });
    assert.match(stderr, /Tests: +1 passed/);
  });

  test('vitest, in ES modules', async () => {
    write(
      'vitest/one.test.ts',
      `import { MallocBackendError, activeBackend, parseBackend, spawn } from 'malloc-backend';
       import { collectMallocMetrics } from 'malloc-backend/prometheus';
       test('works', async () => {
         expect(activeBackend().kind).toBe('libc');
         expect(() => parseBackend('none')).toThrow(MallocBackendError);
         expect(() => collectMallocMetrics(1)).toThrow(MallocBackendError);
         expect((await spawn('true', { backend: 'jemalloc' }).applied).backend).toBe('jemalloc');
       });`,
    );
    const { stdout } = await succeed(bin('vitest'), ['run', '--globals', '--root', inConsumer('vitest')], {
      cwd: inConsumer('vitest'),
    });
    assert.match(stripVTControlCharacters(stdout), /Tests +1 passed/);
  });
});
