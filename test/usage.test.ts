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

  test('that is wrong is said in a line, with what to do', async () => {
    const cases: [string[], RegExp][] = [
      [['runn', 'mimalloc'], /unknown command runn\. Did you mean run\?$/],
      [['fly'], /unknown command fly; see malloc-backend --help$/],
      [
        ['run', 'mimalloc', '--presset', 'none', 'true'],
        /unknown option --presset\. Did you mean --preset\?$/,
      ],
      [['python', 'mimalloc', '--men', 'x.py'], /unknown option --men\. Did you mean --mem\?$/],
      [['doctor', '--jsn'], /unknown option --jsn\. Did you mean --json\?$/],
      [
        ['run', 'mimalloc', '--inspect', 'node'],
        /--inspect; the program's own options come after its name\. /,
      ],
      [['python', 'mimalloc', '-c', '1'], /unknown option -c; Python's own options come after --\. /],
      [['run', 'jemaloc', 'true'], /unknown memory allocator backend "jemaloc"\. Did you mean jemalloc\?$/],
      [
        ['run', 'tcmalloc', 'true'],
        /"tcmalloc"; it must be one of: default, jemalloc, mimalloc, snmalloc, rust$/,
      ],
      [['run', 'mimalloc', '--preset', 'balancd', 'true'], /"balancd"\. Did you mean balanced\?$/],
      [['run', 'jemalloc', '--set', 'narena=1', 'true'], /Did you mean narenas\?$/],
      [['env', 'mimalloc', '--format', 'docekr'], /unknown format "docekr"\. Did you mean docker\?$/],
      [['run', 'mimalloc', '--preset'], /--preset <name> needs a value; see malloc-backend run --help$/],
      [['doctor', '--json=yes'], /--json takes no value$/],
      [['completions', 'tcsh'], /unknown shell "tcsh"; it must be one of: bash, zsh, fish$/],
      [['completions'], /<shell> is missing; see malloc-backend completions --help$/],
    ];
    for (const [words, pattern] of cases) {
      const { code, stderr } = await run(tools.native, words);
      assert.equal(code, 2, words.join(' '));
      assert.match(stderr, /^malloc-backend: [^\n]*\n$/, 'one line');
      assert.match(stderr.trimEnd(), pattern);
    }
  });

  test('without a backend is answered by the right line', async () => {
    const script = tools.file('a script.py', '');
    const cases: [string[], string][] = [
      [['run', process.execPath, 'app.js'], `run jemalloc -- ${process.execPath} app.js`],
      [['run', 'sh', '--x', 'app.js'], 'run jemalloc -- sh --x app.js'],
      [['run', 'sh', '-c', "it's"], `run jemalloc -- sh -c 'it'\\''s'`],
      [['run', '--', 'sh', '--x'], 'run jemalloc -- sh --x'],
      [['run', '--preset', 'none', '--', 'mimalloc', 'true'], 'run jemalloc -- mimalloc true'],
      [['run'], 'run jemalloc -- node server.js'],
      [['python', script], `python jemalloc -- '${script}'`],
      [['python', '--mem'], 'python jemalloc -- script.py'],
      [['env'], 'env jemalloc'],
    ];
    for (const [words, line] of cases) {
      const { code, stderr } = await run(tools.native, words);
      assert.deepEqual(
        [code, stderr],
        [2, `malloc-backend: the backend is missing; write: malloc-backend ${line}\n`],
      );
    }
    const { stderr } = await run(tools.native, ['run', 'snmalloc']);
    assert.match(stderr, /the program is missing; write: malloc-backend run snmalloc -- node server\.js$/m);
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
      ['python', '--mem', '-h'],
      ['path', '-h'],
      ['completions', '-h'],
    ]) {
      const { code, stdout, stderr } = await command(args);
      assert.deepEqual([code, stderr], [0, ''], args.join(' '));
      assert.match(stdout, /Usage: malloc-backend/);
      assert.match(stdout, /Examples:\n {2}/);
      const parts =
        /^[A-Z].*\n\nUsage: .*\n\n((Commands|Arguments):\n( .+\n)+\n)?Options:\n( .+\n)+\n[^]*Examples:\n/;
      assert.match(stdout, parts);
      for (const line of stdout.split('\n')) assert.ok(line.length <= 120, line);
    }
    for (const name of ['run', 'python', 'env', 'doctor', 'path', 'completions'])
      assert.deepEqual(await command(['help', name]), await command([name, '--help']));
    for (const word of ['-v', '-V'])
      assert.deepEqual(await command([word]), await command(['--version']), word);
    const { stdout } = await command(['--version']);
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      version: string;
    };
    assert.equal(stdout, `${version}\n`);
  });
});
