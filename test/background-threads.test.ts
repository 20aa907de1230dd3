// jemalloc's background threads: where they start and where they do not, and that what a process frees goes back, in forked
// children too.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { environment } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { givenBack } from './support/idle.js';
import { compiled } from './support/native.js';
import { noPython, pythons } from './support/pythons.js';
import { run, start, succeed } from './support/run.js';
import { cannotPreload, isGlibc, SWITCHING } from './support/shims.js';
import { describe, test } from './support/suite.js';

const skip = cannotPreload;

describe('a process that frees and then does nothing, on jemalloc', { skip }, () => {
  const HOW = ['first', 'child', 'inherited', 'daemon', 'thread', 'threads'];
  for (const preset of ['balanced', 'low-rss'] as const)
    for (const how of HOW)
      test(`${preset}: ${how}`, async () => {
        const args = ['run', 'jemalloc', '--preset', preset, '--', await compiled('freed'), how];
        await givenBack(start(tools.native, args));
      });

  test('blocks of 8 MiB and more are kept a while, also those from before the threads started', async () => {
    const program = await compiled('freed');
    const faults = async (preset: string) => {
      const { stdout } = await succeed(tools.native, [
        'run',
        'jemalloc',
        '--preset',
        preset,
        program,
        'huge',
      ]);
      return Number(/^faults (\d+)$/m.exec(stdout)?.[1]);
    };
    // Without the threads jemalloc gives each back as it is freed: all its pages are new to the next one.
    assert.ok((await faults('none')) > 200 * 3000);
    for (const preset of ['throughput', 'balanced', 'low-rss'])
      assert.ok((await faults(preset)) < 20 * 3072, preset);
  });
});

describe('the threads', { skip }, () => {
  const noUser = spawnSync('unshare', ['-U', 'true']).status !== 0 && 'no user namespaces here';

  async function says(how: string, expected: string) {
    const args = ['run', 'jemalloc', '--', await compiled('alone'), how];
    const { stdout, stderr } = await succeed(tools.native, args);
    assert.deepEqual([stdout, stderr], [`${expected}\n`, '']);
  }

  // Threads before a call, what it says, and threads after; and jemalloc's own word.
  for (const [how, expected] of Object.entries({
    small: '1 -1 1 off',
    'frees a lot': '2 -1 2 on',
    thread: '2 -1 2 on',
    'C thread': '2 -1 2 on',
    wanted: '2 -1 2 on',
    unwanted: '1 -1 1 off',
    'unwanted by number': '1 -1 1 off',
    confined: '1 -1 1 off',
    // A child that shares its parent's memory leaves them to that.
    'vfork that frees': '2 -1 2 on',
    reset: '2 -1 2 on',
    // 4 MiB is.
    'frees enough': '2 -1 2 on',
    'confined by a filter': '1 -1 1 off',
    // What its parent has freed is not its own, and what its parent wants is what it wants.
    'forks, small': '1 1 1 off',
    'forks, confined': '1 1 1 off',
    'forks, unwanted': '1 1 1 off',
  }))
    test(`of a program: ${how}`, () => says(how, expected));

  for (const [how, expected] of Object.entries({
    user: '2 0 2 on',
    // No thread can be started there any more, and jemalloc knows.
    pid: '2 0 1 off',
    // All have the same capabilities.
    capset: '2 0 2 on',
    // Children without the thread that jemalloc remembers.
    clone: '2 0 2 on',
    vfork: '2 0 2 on',
    setns: '2 0 2 on',
    'setns of any kind': '2 0 2 on',
    'again and again': '2 0 2 on',
    // Refused, and so nothing has changed.
    nonsense: '2 -1 2 on',
    'capset in a clone': '2 0 2 on',
    // One that has its own.
    'clone that wants them': '1 0 1 off',
  }))
    test(`step aside: ${how}`, { skip: noUser }, () => says(how, expected));

  const isNobody = (tools.cannotBeNobody || noUser) && 'no other user here';
  test('step aside where there is no /proc', { skip: isNobody }, async () => {
    const set = Object.entries(environment('jemalloc', { env: {} })).map((pair) => pair.join('='));
    const hidden = ['-m', 'sh', '-c', 'umount -l /proc && exec env "$@"', 'sh', ...set];
    const small = await run('unshare', [...hidden, ...tools.asNobody, 'true']);
    assert.deepEqual([small.code, small.stderr], [0, '']);
    for (const how of ['capset', 'capset in a clone']) {
      const { stdout, stderr } = await run('unshare', [...hidden, await compiled('alone'), how]);
      assert.deepEqual([stdout, stderr], ['0 0 0 on\n', ''], how);
    }
  });

  const noNamespaces = tools.unshares('-p', '-f', '-m', '--mount-proc');
  test('step aside: in a child that has the same number as its parent', { skip: noNamespaces }, async () => {
    const args = [
      '-p',
      '-f',
      '-m',
      '--mount-proc',
      tools.native,
      'run',
      'jemalloc',
      '--',
      await compiled('alone'),
    ];
    const { stdout, stderr } = await run('unshare', [...args, 'capset in a namespace']);
    assert.deepEqual([stdout, stderr], ['2 0 2 on\n', '']);
  });

  const cannotLimit = tools.cannotBeNobody;
  for (const [how, result] of Object.entries({
    'capset at the limit': 0,
    'refused at the limit': constants.errno.EINVAL,
  }))
    test(`step aside, and cannot start again: ${how}`, { skip: cannotLimit }, async () => {
      const words = [...tools.asNobody, await compiled('alone'), how];
      const { stdout, stderr } = await run(tools.native, ['run', 'jemalloc', '--', ...words]);
      assert.deepEqual([stdout, stderr], [`2 ${result} 1 off\n`, '']);
    });

  test('do not start at the limit of processes, and nobody hears of it', { skip: cannotLimit }, async () => {
    const alone = await compiled('alone');
    const limited = [...tools.asNobody, 'prlimit', '--nproc=1', alone, 'frees a lot'];
    const { stdout, stderr } = await run(tools.native, ['run', 'jemalloc', '--', ...limited]);
    assert.deepEqual([stdout, stderr], ['1 -1 1 off\n', '']);
  });

  test(
    'start, after such a limit, when the program makes a thread and not as it frees',
    { skip: cannotLimit },
    async () => {
      const limited = [
        ...tools.asNobody,
        'prlimit',
        '--nproc=1:100',
        await compiled('alone'),
        'limit lifted',
      ];
      const { stdout, stderr } = await run(tools.native, ['run', 'jemalloc', '--', ...limited]);
      assert.deepEqual([stdout, stderr], ['1 0 2 on\n', '']);
    },
  );
});

describe('a main thread that ends before the others', { skip }, () => {
  const OUTPUT = {
    exit: 'main\n',
    thrd: 'main\n',
    cancel: 'main\n',
    worker: 'main\nworked\n',
    fork: 'child\nmain\n',
    clone: 'main\n',
  };
  for (const backend of SWITCHING)
    for (const [how, expected] of Object.entries(OUTPUT))
      test(`${backend}: ${how}`, async () => {
        // (That run does not end is the fault: see support/run.ts.)
        const { code, stdout } = await run(tools.native, [
          'run',
          backend,
          '--',
          await compiled('last_thread'),
          how,
        ]);
        assert.deepEqual([code, stdout], [0, expected]);
      });
});

describe(
  'Python that forks',
  { skip: noPython || skip || (!isGlibc && 'the C library is not glibc') },
  () => {
    const code = `import os
pid = os.fork()
if pid == 0: os._exit(0)
print(os.waitpid(pid, 0)[1], len(os.listdir('/proc/self/task')))`;
    for (const { file, version } of pythons.filter((each) => each.minor >= 12))
      test(`${version} has one thread, and warns of none`, async () => {
        const args = ['run', 'jemalloc', file, '-W', 'always', '-c', code];
        const { stdout, stderr } = await succeed(tools.native, args);
        assert.deepEqual([stdout, stderr], ['0 1\n', '']);
      });
  },
);
