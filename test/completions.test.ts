// The completions of the command, in the shells that are installed.

import assert from 'node:assert/strict';
import * as tools from './fixtures-ts/tools.js';
import { run, succeed } from './support/run.js';
import { cannotPreload } from './support/shims.js';
import { describe, test } from './support/suite.js';

const bash = tools.which('bash');

describe('completions', { skip: cannotPreload }, () => {
  /** What bash offers for the last of these words. */
  async function offered(...words: string[]): Promise<string[]> {
    const script = `eval "$("$0" completions bash)"
      spec=$(complete -p malloc-backend); function=\${spec#* -F }; function=\${function%% *}
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
      "$function" malloc-backend "\${COMP_WORDS[COMP_CWORD]}" "\${COMP_WORDS[COMP_CWORD - 1]}"
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const args = ['-c', script, tools.native, 'malloc-backend', ...words];
    const { stdout } = await succeed(bash ?? '', args);
    return stdout.split('\n').filter((word) => word !== '');
  }

  test(
    'of bash offer commands, options, backends and presets',
    {
      skip: bash === undefined && 'bash is not installed',
    },
    async () => {
      assert.deepEqual(await offered('r'), ['run']);
      for (const name of ['run', 'python', 'env', 'doctor', 'path', 'completions', '--version'])
        assert.ok((await offered('')).includes(name), name);
      assert.deepEqual(await offered('mea'), [], 'a hidden command');
      assert.deepEqual(await offered('run', '--pre'), ['--preset']);
      assert.deepEqual(await offered('run', 'jem'), ['jemalloc']);
      assert.deepEqual(await offered('run', '--preset', 'b'), ['balanced']);
      assert.deepEqual(await offered('env', 'mimalloc', '--format', 'systemd'), ['systemd', 'systemd-file']);
      assert.deepEqual(await offered('completions', ''), ['-h', '--help', 'bash', 'zsh', 'fish']);
    },
  );

  for (const shell of ['bash', 'zsh', 'fish']) {
    const file = tools.which(shell);
    test(
      `of ${shell} are read by it`,
      { skip: file === undefined && `${shell} is not installed` },
      async () => {
        const { stdout } = await succeed(tools.native, ['completions', shell]);
        const { code, stderr } = await run(file ?? '', ['-n', tools.file(`completions.${shell}`, stdout)]);
        assert.deepEqual([code, stderr], [0, '']);
      },
    );
  }

  test('of zsh and fish name the commands', async () => {
    for (const shell of ['zsh', 'fish']) {
      const { stdout } = await succeed(tools.native, ['completions', shell]);
      for (const word of ['run', 'python', 'preset', 'jemalloc', 'balanced'])
        assert.ok(stdout.includes(word), `${shell}: ${word}`);
    }
  });
});
