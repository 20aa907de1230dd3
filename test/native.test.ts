// The addon: its file, what it looks into, and how it is found.

import assert from 'node:assert/strict';
import { copyFileSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { binaryFolder, linuxBinding } from '../src/native/loader.js';
import * as tools from './fixtures-ts/tools.js';
import { succeed } from './support/run.js';
import { cannotPreload, platform, root } from './support/shims.js';
import { describe, test } from './support/suite.js';

describe('the file', () => {
  test('no function of an allocator is to be seen in the process', { skip: cannotPreload }, async () => {
    const addon = join(binaryFolder(), `malloc-backend.${platform}.node`);
    const { stdout } = await succeed('nm', ['-D', '--defined-only', '--format=posix', addon]);
    const names = stdout.split('\n').map((line) => line.split(/[ @]/)[0] ?? '');
    assert.deepEqual(
      names.filter((name) => name !== '' && !name.startsWith('napi_')),
      [],
    );
  });

  test('it needs no C++ library', { skip: cannotPreload }, async () => {
    const addon = join(binaryFolder(), `malloc-backend.${platform}.node`);
    const { stdout } = await succeed('readelf', ['-dW', addon]);
    const needed = [...stdout.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name = '']) => name);
    assert.ok(needed.length > 0);
    assert.deepEqual(
      needed.filter((name) => !/^(libc|libm|libgcc_s|libpthread|libdl|ld)\b/.test(name)),
      [],
    );
  });

  test(
    'it can be loaded late: its thread-local memory is not laid out beforehand',
    { skip: cannotPreload },
    async () => {
      const addon = join(binaryFolder(), `malloc-backend.${platform}.node`);
      assert.doesNotMatch((await succeed('readelf', ['-dW', addon])).stdout, /STATIC_TLS/);
    },
  );
});

describe('inspectProgram()', { skip: cannotPreload }, () => {
  const look = (path: string) => linuxBinding().inspectProgram(path);
  const kind = (name: string, content: string | Uint8Array) => look(tools.file(name, content)).kind;

  test('tells programs, scripts and other things apart', () => {
    const node = look(process.execPath);
    assert.equal(node.kind, 'elf');
    assert.match(node.interpreter ?? '', /^\/lib.*\/ld-(linux|musl)-/);
    assert.deepEqual(look(tools.scratch('nothing')), { kind: 'error', isPython: false });
    const script = look(tools.file('script', '#! \t/bin/sh\t -e -u \nexit'));
    assert.deepEqual([script.kind, script.interpreter], ['script', '/bin/sh']);
  });

  test('is not upset by what is cut off or made up', () => {
    const whole = readFileSync(process.execPath).subarray(0, 4096);
    for (const length of [0, 1, 3, 4, 5, 16, 63, 64, 65, 120, 1000, 4096])
      assert.ok(['elf', 'unknown'].includes(kind('cut', whole.subarray(0, length))), `${length} bytes`);
    for (const text of ['', '#', '#!', '#!\n', '#! \t\n', '\x7fELF', 'text'])
      assert.equal(kind('made', text), 'unknown');
    // Each field of the header in turn with the most that it can hold.
    for (let at = 4; at < 64; at += 2) {
      const bytes = Buffer.from(whole);
      bytes.fill(0xff, at, at + 8);
      assert.ok(['elf', 'unknown'].includes(kind('wrong', bytes)), `at ${at}`);
    }
  });
});

describe('where the addon is looked for', () => {
  const loaded = (directory: string, options: { cwd?: string } = {}) =>
    tools.evaluate<{ value?: unknown[]; code?: string; message?: string }>('show(attempt(m.backends))', {
      env: { MALLOC_BACKEND_BINARY_DIR: directory },
      ...options,
    });

  test('is the folder that MALLOC_BACKEND_BINARY_DIR names', async () => {
    const copy = tools.copyOfBinaries('folder with a space');
    assert.equal((await loaded(copy)).value?.length, 5);
    assert.equal(
      (await loaded(relative(root, copy), { cwd: root })).value?.length,
      5,
      'from the working directory',
    );
    assert.equal((await loaded('')).value?.length, 5, 'an empty one does not count');
  });

  test('that it is missing, or does not load, is said with the remedy', async () => {
    const name = `malloc-backend.${platform}.node`;
    const broken = tools.copyOfBinaries('broken', [name]);
    const missing = await loaded(broken);
    assert.equal(missing.code, 'ERR_BINARY_MISSING');
    copyFileSync(tools.file('text', 'no library'), join(broken, name));
    const unloadable = await loaded(broken);
    assert.equal(unloadable.code, 'ERR_BINARY_MISSING');
    for (const { message = '' } of [missing, unloadable]) {
      assert.ok(message.includes(join(broken, name)), message);
      assert.match(message, new RegExp(`${process.platform}-${process.arch}`));
      assert.match(message, /--omit=optional.*npm run build.*MALLOC_BACKEND_BINARY_DIR/);
    }
    assert.match(missing.message ?? '', /does not exist/);
    assert.match(unloadable.message ?? '', /does not load: /);
  });

  test('is not looked for before it is needed', async () => {
    const env = { MALLOC_BACKEND_BINARY_DIR: tools.scratch('nowhere') };
    assert.equal(await tools.evaluate("show(m.parseBackend('rust'))", { env }), 'rust');
  });
});
