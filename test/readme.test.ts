// README's first commands, each as it is printed (but for the number of runs), in an empty folder and from packed tarballs:
// diagnose, compare, deploy, verify.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tools from './fixtures-ts/tools.js';
import { managers, start as install } from './support/managers.js';
import { type Registry, packAll, serve } from './support/registry.js';
import { ended, kill, run, start } from './support/run.js';
import { cannotPreload, notGlibc, root } from './support/shims.js';
import { afterAll, beforeAll, describe, test } from './support/suite.js';

const skip = cannotPreload || (tools.which('npm') === undefined && 'npm is not installed');

/** The lines of the first block of commands, without their comments. */
const lines = /```sh\n([^`]+)```/
  .exec(readFileSync(join(root, 'README.md'), 'utf8'))![1]!
  .trim()
  .split('\n')
  .map((line) => line.split(' # ')[0]!.trim());

describe("README's first commands", { skip }, () => {
  const folder = tools.scratch('readme');
  const project = join(folder, 'project');
  let registry: Registry;
  let env: string[];

  beforeAll(async () => {
    registry = await serve(await packAll(join(folder, 'packed')));
    const npm = managers.find(({ name }) => name === 'npm 10.8.2') ?? assert.fail();
    mkdirSync(project);
    mkdirSync(join(folder, 'home'));
    const { words, npx, bin } = install(npm, folder);
    for (const [name, command] of Object.entries({ npm: words, npx })) {
      const quoted = command.map((word) => `'${word}'`).join(' ');
      writeFileSync(join(bin, name), `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
    }
    env = [
      `PATH=${bin}:/usr/local/bin:/usr/bin:/bin`,
      `HOME=${join(folder, 'home')}`,
      `npm_config_registry=${registry.url}`,
    ];
    copyFileSync(join(root, 'test/fixtures/job.mjs'), join(project, 'job.js'));
    writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
  });
  afterAll(() => registry?.close());

  async function succeed(line: string): Promise<string> {
    const { code, stdout, stderr } = await run('env', ['-i', ...env, 'sh', '-c', line], { cwd: project });
    assert.equal(code, 0, `${line}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Starts a job that waits; `check` has its process id. */
  async function beside(line: string, check: (pid: string) => Promise<void>): Promise<void> {
    const job = start('env', ['-i', ...env, 'WAIT=1', 'sh', '-c', line], { cwd: project });
    try {
      const [said] = (await once(job.stdout!, 'data')) as [Buffer];
      await check(said.toString().trim());
      const end = ended(job);
      job.stdin!.end();
      assert.equal((await end).code, 0);
    } finally {
      kill(job);
    }
  }

  const line = (part: string): string => lines.find((each) => each.includes(part)) ?? assert.fail(part);

  test('are five', () => assert.equal(lines.length, 5, lines.join('\n')));

  test('install', async () => {
    await succeed(line('npm install'));
  });

  test('diagnose', { skip: notGlibc }, async (context) => {
    await beside('exec node job.js', async (pid) => {
      const said = await succeed(lines[1]!.replace('<pid>', pid));
      if (/CAP_SYS_PTRACE/.test(said)) context.skip('the process may not read the memory of another one');
      assert.match(said, /It is the allocator/);
    });
  });

  test('compare, and decide', async () => {
    // With its own budget of ten minutes, the command goes on until the CPU times are certain, too. Ten rounds beside other
    // tests say little of them.
    await succeed(line(' compare ').replace('compare', 'compare --runs 10 --warmup 0 --cost-within 200%'));
    const { backend, measured } = JSON.parse(readFileSync(join(project, 'malloc-backend.json'), 'utf8'));
    assert.ok(['default', 'jemalloc', 'mimalloc'].includes(backend), backend);
    assert.ok(measured.gain.meanRss.high < 1, JSON.stringify(measured.gain));
  });

  test('deploy, and verify', async () => {
    const { backend } = JSON.parse(readFileSync(join(project, 'malloc-backend.json'), 'utf8'));
    await beside(`exec ${line(' run ')}`, async (pid) => {
      await succeed(line('--expect').replace('<pid>', pid).replace('jemalloc', backend));
      const other = backend === 'mimalloc' ? 'snmalloc' : 'mimalloc';
      await assert.rejects(succeed(line('--expect').replace('<pid>', pid).replace('jemalloc', other)));
    });
  });
});
