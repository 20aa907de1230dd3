// The command as a program that needs no Node: what it can do from a copy of its folder, and where it looks.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, symlinkSync } from 'node:fs';
import * as tools from './fixtures-ts/tools.js';
import { run, succeed } from './support/run.js';
import { noPython, python } from './support/pythons.js';
import { cannotPreload, notGlibc, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

const { command, native } = tools;

describe('the command without Node', { skip: cannotPreload }, () => {
  test('runs what is no Node, from a copy of its folder alone', async () => {
    const folder = tools.copyOfBinaries('alone');
    const env = { PATH: '/usr/bin:/bin' };
    const look = 'grep -o "alone/libmalloc_backend_[a-z]*" /proc/$$/maps | uniq';
    const { stdout } = await succeed(`${folder}/malloc-backend`, ['run', 'jemalloc', 'sh', '-c', look], {
      env,
    });
    assert.equal(stdout, 'alone/libmalloc_backend_jemalloc\n');
    const says = async (...words: string[]) =>
      (await succeed(`${folder}/malloc-backend`, words, { env })).stdout;
    assert.match(await says('--help'), /^Choose the memory allocator/);
    assert.match(await says('run', '--help'), /^Run a program/);
    assert.match(await says('--version'), /^\d+\.\d+\.\d+\n$/);
    const diagnosis = JSON.parse(await says('doctor', '--json')) as { binaries: string };
    assert.equal(diagnosis.binaries, folder);
    const memory = await says('doctor', '--memory', '--pid', `${process.pid}`);
    assert.match(memory, /^Array buffers .*only V8 counts them, which needs Node/m);
    assert.doesNotMatch(await says('doctor', '--pid', `${process.pid}`), /only V8 counts/);
  });

  test('runs Python, from a copy of its folder alone', { skip: noPython }, async () => {
    const folder = tools.copyOfBinaries('alone-with-python');
    const words = ['python', 'jemalloc', '--mem', '--report', '--python', python?.file ?? '', '--'];
    const { stdout, stderr } = await succeed(
      `${folder}/malloc-backend`,
      [...words, '-c', 'import sys; print(sys.argv)', '--mem'],
      { env: { PATH: '/usr/bin:/bin' } },
    );
    assert.equal(stdout, "['-c', '--mem']\n");
    const { backend, domains, library } = JSON.parse(stderr) as Record<string, unknown>;
    assert.deepEqual([backend, domains], ['jemalloc', ['raw', 'mem']]);
    assert.equal(library, `${folder}/libmalloc_backend_python_hook.so`);
  });

  test('finds its folder through links, and takes another for it', async () => {
    const link = tools.scratch('link');
    symlinkSync(native, link);
    const { LD_PRELOAD } = JSON.parse((await succeed(link, ['env', 'mimalloc', '--format=json'])).stdout);
    assert.equal(LD_PRELOAD, shim('mimalloc'));
    const MALLOC_BACKEND_BINARY_DIR = tools.copyOfBinaries('other');
    const { stdout } = await succeed(link, ['env', 'mimalloc', '--preset=none'], {
      env: { MALLOC_BACKEND_BINARY_DIR },
    });
    assert.equal(stdout, `export LD_PRELOAD='${MALLOC_BACKEND_BINARY_DIR}/libmalloc_backend_mimalloc.so'\n`);
  });

  // As Alpine names it, and as musl's own tools do.
  for (const name of ['libc.musl-x.so.1', 'libc.so'])
    test(`says that its folder is for musl, by ${name}`, { skip: notGlibc }, async () => {
      tools.cc(name, '', ['-shared', `-Wl,-soname,${name}`]);
      const musl = tools.cc('musl.so', '', ['-shared', '-Wl,--no-as-needed', tools.scratch(name)]);
      const folder = tools.copyOfBinaries(`for-${name}`);
      for (const backend of ['default', 'mimalloc'])
        copyFileSync(musl, `${folder}/libmalloc_backend_${backend}.so`);
      const { code, stderr } = await run(`${folder}/malloc-backend`, ['run', 'mimalloc', 'true']);
      assert.equal(code, 126);
      assert.match(stderr, /uses the C library of .*, and the preloadable library is for musl/);
    });

  test('says where it lies', async () => {
    const folder = tools.copyOfBinaries('somewhere');
    const said = async (program: string, words: string[], env: Record<string, string> = {}) =>
      (await succeed(program, ['path', ...words], { env })).stdout;
    assert.equal(await said(`${folder}/malloc-backend`, []), `${folder}/malloc-backend\n`);
    assert.equal(await said(`${folder}/malloc-backend`, ['--folder']), `${folder}\n`);
    const env = { MALLOC_BACKEND_BINARY_DIR: folder };
    assert.equal(await said(native, ['--folder'], env), `${folder}\n`);
    assert.equal((await command(['path', '--folder'], { env })).stdout, `${folder}\n`);
    assert.equal((await command(['path'])).stdout, `${native}\n`);
    const nowhere = { MALLOC_BACKEND_BINARY_DIR: tools.scratch('nowhere') };
    const { code, stderr } = await run(native, ['path'], { env: nowhere });
    assert.equal(code, 127);
    assert.match(stderr, /nowhere\/malloc-backend does not exist/);
  });

  test('is what the package’s command becomes', async () => {
    for (const words of [
      [],
      ['--help'],
      ['doctor', '--help'],
      ['nonsense'],
      ['python', '--help'],
      ['--version'],
    ])
      assert.deepEqual(await run(native, words), await command(words));
  });

  test('says how it is used, as the one in JavaScript does', async () => {
    for (const words of [
      ['run'],
      ['run', '-h'],
      ['run', 'mimalloc'],
      ['run', '--preset'],
      ['run', '--nonsense', 'mimalloc', 'true'],
      ['run', 'mimalloc', '--set', 'nonsense', 'true'],
      ['run', 'mimalloc', '--children=some', 'true'],
      ['env', 'mimalloc', 'true'],
      ['env', '--help'],
      ['path', '--help'],
      ['path', '--nonsense'],
      ['python', '--nonsense'],
      ['completions'],
    ]) {
      const said = await run(native, words);
      assert.deepEqual(said, await command(words));
      assert.equal(said.code, words.some((word) => /^-+h/.test(word)) ? 0 : 2, words.join(' '));
      assert.match(said.code === 0 ? said.stdout : said.stderr, /^(malloc-backend: |Run|Print)/);
    }
  });

  test('refuses words of its own that are no text, and takes such a command', async () => {
    const said = (words: string) => run('sh', ['-c', `"$0" ${words}`, native]);
    const { code, stderr } = await said(`env jemalloc --set "prof_prefix:$(printf 'a\\377')"`);
    assert.equal(code, 2);
    assert.match(stderr, /is not UTF-8/);
    const bytes = `run mimalloc "$(printf './\\377')"`;
    assert.match((await said(bytes)).stderr, /the command, .*\ufffd, does not exist/);
  });

  test(
    'does not say that it has printed what it could not',
    { skip: !existsSync('/dev/full') && 'there is no /dev/full' },
    async () => {
      const { code, stderr } = await run('sh', ['-c', '"$0" env mimalloc >/dev/full', native]);
      assert.equal(code, 1);
      assert.match(stderr, /^malloc-backend: cannot write to standard output: No space left/);
    },
  );
});
