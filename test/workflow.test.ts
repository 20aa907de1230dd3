// The check of the workflow (npm/workflow.mjs): it passes, and finds each kind of mistake.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tools from './fixtures-ts/tools.js';
import { run } from './support/run.js';
import { root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const skip =
  (tools.which('git') === undefined && 'git is not installed') ||
  (!existsSync(join(root, '.git')) && 'this is no checkout of git');

describe('the check of the workflow', { skip }, () => {
  const workflow = readFileSync(join(root, '.github', 'workflows', 'ci.yml'), 'utf8');
  const check = (content: string) =>
    run(process.execPath, [join(root, 'npm', 'workflow.mjs'), tools.file('ci.yml', content, 0o644)]);

  test('finds nothing in the workflow', async () => {
    const { code, stderr } = await check(workflow);
    assert.deepEqual([code, stderr], [0, '']);
  });

  const mistakes: [string, [string | RegExp, string], RegExp][] = [
    ['a file that does not exist', ['.ci/alpine', '.ci/apline'], /build: \.ci\/apline does not exist\n$/],
    [
      'a file that no package lists',
      ['npm/linux-$cpu-musl/malloc-backend npm', 'npm/linux-$cpu-musl/command npm'],
      /pack: npm\/linux-\$cpu-musl\/command does not exist\n$/,
    ],
    [
      'a package that does not exist',
      ['package: darwin-x64', 'package: darwin-x86'],
      /npm\/darwin-x86 does not/,
    ],
    [
      'a package that no job builds',
      [/\n.*package: win32-x64-msvc.*/, ''],
      /no job builds win32-x64-msvc\n$/,
    ],
    ['a script that does not exist', ['npm run build:ts', 'npm run build:tss'], /has no script build:tss\n$/],
    ['a job that does not exist', ['needs: [test, smoke]', 'needs: [test, smok]'], /needs job "smok"/],
    ['an expression', ['matrix.alpine != null', 'matrix.alpin != null'], /property "alpin" is not defined/],
    [
      'a runner that does not exist',
      ['os: macos-15-intel', 'os: macos-15-intle'],
      /"macos-15-intle" is unknown/,
    ],
  ];
  for (const [what, [from, to], expected] of mistakes)
    test(`finds ${what}`, async () => {
      const wrong = workflow.replace(from, to);
      assert.notEqual(wrong, workflow);
      const { code, stderr } = await check(wrong);
      assert.equal(code, 1);
      assert.match(stderr, expected);
    });
});
