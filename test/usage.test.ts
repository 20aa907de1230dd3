// What the command takes for an option, for a backend and for the command to run; its help.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as tools from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { run } from './support/run.js';
import { cannotPreload, root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const { command } = tools;
const env = environment();

describe('usage', { skip: cannotPreload }, () => {
  const wrong = [
    [],
    ['fly'],
    ['run'],
    ['run', 'mimalloc'],
    ['run', 'mimalloc', '--'],
    ['run', '--', 'mimalloc', 'true'],
    ['run', 'mimalloc', '--fast', 'true'],
    ['run', '-x', 'mimalloc', 'true'],
    ['run', 'mimalloc', '--preset'],
    ['run', 'mimalloc', '--preset', 'fast', 'true'],
    ['run', 'mimalloc', '--children', 'some', 'true'],
    ['run', 'mimalloc', '--set', 'nonsense', 'true'],
    ['run', 'mimalloc', '--set', '=1', 'true'],
    ['run', 'mimalloc', '--set', 'purge_delay=a b', 'true'],
    ['run', 'snmalloc', '--set', 'a=b', 'true'],
    ['run', 'default', '--set', 'constructor=1', 'true'],
    ['run', 'mimalloc', ''],
    ['env'],
    ['env', 'tcmalloc'],
    ['env', 'mimalloc', 'true'],
    ['env', 'mimalloc', '--format', 'yaml'],
    ['env', 'mimalloc', '--format', 'toString'],
    ['env', 'mimalloc', '--json'],
    ['env', 'mimalloc', '--', '--help'],
    ['doctor', 'x'],
    ['doctor', '--pid'],
    ['doctor', '--pid', 'x'],
    ['doctor', '--pid', '-1'],
    ['doctor', '--pid', '1.5'],
    ['doctor', '--pid', '0'],
    ['doctor', '--memory'],
    ['doctor', '--json=yes'],
    ['doctor', '--expect'],
    ['doctor', '--expect', 'rust'],
    ['doctor', '--', 'x'],
    ['run', 'mimalloc', '--if-supported=no', 'true'],
  ];

  test('that is wrong is status 2, with what is wrong', async () => {
    for (const args of wrong) {
      const { code, stdout, stderr } = await command(args);
      // A shell that evaluates what `env` prints goes no further.
      assert.deepEqual([code, stdout], [2, args[0] === 'env' ? 'false\n' : ''], args.join(' '));
      assert.match(stderr, /^malloc-backend: \S/, args.join(' '));
      assert.doesNotMatch(stderr, /^ {4}at /m, 'no stack');
    }
  });

  test('what comes after the command is the command’s', async () => {
    const args = [
      '--help',
      '-h',
      '--preset',
      'fast',
      '--set',
      '--',
      '--',
      '',
      ' a b ',
      '-V',
      '--children=none',
      '*',
      '$X',
    ];
    const expected = args.map((arg) => `<${arg}>\n`).join('');
    const starts = [
      ['run', 'mimalloc', 'printf'],
      ['run', 'mimalloc', '--', 'printf'],
      ['run', 'mimalloc', '--preset', 'none', '--set=purge_delay=1', 'printf'],
      ['run', '--children', 'none', 'mimalloc', '--preset=none', '--', 'printf'],
    ];
    for (const start of starts) {
      const { code, stdout, stderr } = await command([...start, '<%s>\\n', ...args]);
      assert.deepEqual([code, stderr, stdout], [0, '', expected], start.join(' '));
    }
    const help = await command(['run', 'mimalloc', 'node', '--help'], {
      env: { PATH: `${dirname(process.execPath)}:${env['PATH']}` },
    });
    assert.equal(help.stdout, (await run(process.execPath, ['--help'])).stdout);
  });

  test('help and version', async () => {
    for (const args of [
      ['--help'],
      ['-h'],
      ['help'],
      ['run', '--help'],
      ['env', '--help'],
      ['env', 'x', '-h'],
      ['doctor', '-h'],
    ]) {
      const { code, stdout, stderr } = await command(args);
      assert.deepEqual([code, stderr], [0, ''], args.join(' '));
      assert.match(stdout, /Usage: malloc-backend/);
      assert.match(stdout, /Examples:\n {2}/);
    }
    const { stdout } = await command(['--version']);
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      version: string;
    };
    assert.equal(stdout, `${version}\n`);
  });
});
