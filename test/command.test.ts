// The command `run`: that it leaves everything else as it was.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { type TestContext } from 'vitest';
import { activeBackend } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { compiled } from './support/native.js';
import { ended, kill, run, start, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, emulated, notGlibc, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

const { command, cli, entries } = tools;
const bash = tools.which('bash');
const noBash = bash === undefined && 'bash is not installed';

interface Shell {
  shell?: string;
  env?: Record<string, string>;
}

/** Runs a shell script in which "$@" is what comes before a command: nothing, or `run mimalloc --`. */
async function through(entry: readonly string[], script: string, { shell = 'sh', env = {} }: Shell = {}) {
  const before = entry.length === 0 ? [] : [...entry, 'run', 'mimalloc', '--preset', 'none', '--'];
  return run(shell, ['-c', script, shell, ...before], { env });
}

/** The same directly, and through the command in each of its forms. */
async function both(script: string, options: Shell = {}) {
  const direct = await through([], script, options);
  const switched = [];
  for (const entry of Object.values(entries)) switched.push(await through(entry, script, options));
  return { direct, switched };
}

async function same(script: string, options: Shell = {}) {
  const { direct, switched } = await both(script, options);
  for (const each of switched) assert.deepEqual(each, direct);
  assert.notEqual(direct.stdout, '');
}

describe('run leaves as it was', { skip: cannotPreload }, () => {
  test('the process, and nothing stays between', { skip: emulated }, async () => {
    const scripts = Object.values(entries).map((entry) => `${entry.join(' ')} run mimalloc -- cat`);
    for (const shell of scripts.flatMap((script) => [`exec ${script}`, script])) {
      const child = start('sh', ['-c', `echo $$; ${shell}`]);
      child.stdin?.write('begun\n');
      let said = '';
      for await (const chunk of child.stdout ?? assert.fail())
        if ((said += String(chunk)).includes('begun')) break;
      const pid = child.pid ?? assert.fail();
      assert.equal(Number(said.split('\n')[0]), pid);
      if (shell.startsWith('exec')) {
        assert.equal(realpathSync(`/proc/${pid}/exe`), tools.which('cat'));
        assert.equal(activeBackend(pid).backend, 'mimalloc');
        assert.equal(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'), '');
        process.kill(pid, 'SIGTERM');
        assert.deepEqual(await once(child, 'exit'), [null, 'SIGTERM']);
      } else {
        kill(child);
      }
    }
  });

  test('exit codes, signals and output', async () => {
    for (const script of [
      '"$@" sh -c "exit 3"; echo $?',
      '"$@" sh -c "kill -SEGV \\$\\$"; echo $?',
      '"$@" sh -c "echo a; echo b >&2"',
    ])
      await same(script);
    assert.equal((await command(['run', 'jemalloc', 'sh', '-c', 'exit 3'])).code, 3);
    assert.equal((await command(['run', 'jemalloc', 'sh', '-c', 'kill -TERM $$'])).signal, 'SIGTERM');
  });

  test('arguments, their first, the working directory and what the kernel knows of a process', async () => {
    await same(
      'cd /usr && "$@" sh -c "pwd; cat /proc/self/cmdline | tr \'\\0\' \'\\n\'" other first "" " a b"',
    );
    await same(
      '"$@" cat /proc/self/cmdline; "$@" /bin/cat /proc/self/cmdline; cd /bin && "$@" ./cat /proc/self/cmdline',
    );
    const known = [
      'Umask',
      'Uid',
      'Gid',
      'Groups',
      'SigBlk',
      'SigIgn',
      'SigCgt',
      'SigPnd',
      'Cap...',
      'NoNewPrivs',
      'Seccomp',
      'Cpus_allowed',
    ];
    const status = `grep -E '^(${known.join('|')}):' /proc/self/status`;
    await same(
      `umask 027; "$@" ${status}; "$@" cat /proc/self/oom_score_adj /proc/self/personality; "$@" nice`,
    );
    // But for the open files, whose soft limit Node raises (docs/process.md).
    await same('ulimit -c 100; ulimit -s 4096; "$@" grep -v "open files" /proc/self/limits');
    const limits = 'ulimit -Sn 100; "$@" grep "open files" /proc/self/limits';
    assert.deepEqual(await through(entries['without Node']!, limits), await through([], limits));
  });

  test('the environment, but for its own variables', async () => {
    const { direct, switched } = await both('export A="b c"\nexport EMPTY=\n"$@" env', {
      env: { ODD: 'é=%;|\n$x' },
    });
    const own = `LD_PRELOAD=${shim('mimalloc')}\n`;
    const lines = (text: string) =>
      text
        .split('\n')
        .filter((line) => !line.startsWith('_='))
        .sort();
    for (const { stdout } of switched) {
      assert.ok(stdout.includes(own));
      assert.deepEqual(lines(stdout.replace(own, '')), lines(direct.stdout));
    }
  });

  test('bytes that are no text', async () => {
    const bytes = `ODD="$(printf 'c\\377')" OTHER="$(printf 'd\\376')"; export ODD OTHER
      "$@" sh -c 'printf %s "$ODD$OTHER" "$@" | od -An -tx1' sh "$(printf 'a\\377')" "$(printf 'a\\376')" "$(printf 'a\\357\\277\\275')"`;
    await same(bytes);
    const { switched } = await both(bytes);
    for (const { stdout } of switched)
      assert.equal(stdout.replace(/\s+/g, ' '), ' 63 ff 64 fe 61 ff 61 fe 61 ef bf bd ');
  });

  test('what Node does not show of the environment', async () => {
    await same(
      `"$@" env "$(printf 'N\\377=1')" "$0" -c 'env -0 | tr "\\0" "\\n" | grep -a ^N | od -An -tx1'
       exec env "$(printf 'N\\376=2')" "$@" sh -c 'env -0 | tr "\\0" "\\n" | grep -a ^N | od -An -tx1'`,
    );
    const program = 'process.send(process.argv.slice(1)); process.disconnect()';
    const args = [cli, 'run', 'mimalloc', '--', process.execPath, '-e', program, 'x'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    assert.deepEqual((await once(child, 'message'))[0], ['x']);
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });

  test('and switches where a variable is there twice', async () => {
    const twice = tools.cc(
      'twice',
      `#include <unistd.h>
       int main(int n, char **words) {
         char *env[] = {"LD_PRELOAD=${shim('mimalloc')}", "LD_PRELOAD=", "PATH=/usr/bin:/bin", 0};
         return execve(words[1], words + 1, env);
       }`,
    );
    const look = 'grep -o "libmalloc_backend_[a-z]*" /proc/$$/maps | uniq';
    for (const entry of Object.values(entries)) {
      const { stdout } = await run(twice, [...entry, 'run', 'mimalloc', '--preset=none', 'sh', '-c', look]);
      assert.equal(stdout, 'libmalloc_backend_mimalloc\n');
    }
  });

  test('nothing of what an outer switch has taken out of it', async () => {
    const script = 'env; grep -o "libmalloc_backend_[a-z]*" /proc/self/maps | sort -u; true';
    const inner = [process.execPath, cli, 'run', 'mimalloc', '--', 'sh', '-c', script];
    const { stdout } = await command(['run', 'jemalloc', '--children', 'none', '--', ...inner]);
    assert.match(stdout, /^libmalloc_backend_mimalloc$/m);
    assert.doesNotMatch(stdout, /^MALLOC_(CONF|BACKEND_CHILDREN)=/m);
  });

  test('the port of an inspector', async () => {
    const port = await tools.freePort();
    const env = { NODE_OPTIONS: `--inspect=127.0.0.1:${port}` };
    const { code, stderr } = await command(['run', 'mimalloc', '--', process.execPath, '-e', '0'], { env });
    assert.equal(code, 0);
    assert.equal(stderr.match(/Debugger listening/g)?.length, 2, stderr);
  });

  test('a working directory that was removed', async () => {
    await same('mkdir gone-$$ && cd gone-$$ && rmdir ../gone-$$ && "$@" sh -c "echo ran"');
    const relative = 'mkdir gone-$$ && cd gone-$$ && rmdir ../gone-$$ && "$@" ./none; echo $?';
    const { switched } = await both(relative);
    for (const { stdout, stderr } of switched) {
      assert.equal(stdout, '127\n');
      assert.match(stderr, /^malloc-backend: the command, .*none, does not exist\n$/);
    }
  });

  const descriptors = `for fd in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29; do
    for kind in S c p f d; do [ -$kind /proc/$$/fd/$fd ] && echo $fd $kind; done; done; true`;
  test('open files, no more and no fewer', async () => {
    await same(`"$@" sh -c '${descriptors}'`);
    await same(`exec 7</etc/passwd 9>/dev/null; "$@" sh -c '${descriptors}; head -c1 <&7'`);
    await same(`echo x | "$@" sh -c '${descriptors}; cat' 5<. 6<&0; true`);
  });

  test('/dev/null among the open files', async () => {
    await same(`echo x | "$@" sh -c '${descriptors}; cat' 8</dev/null 9>/dev/null; true`);
  });

  test('process substitution and co-processes', { skip: noBash }, async () => {
    const shell = bash ?? '';
    await same('"$@" cat <(echo one) <(echo two)', { shell });
    await same('"$@" tee >(cat >&2) < <(echo three)', { shell });
    await same('coproc cat; echo four >&${COPROC[1]}; "$@" head -n1 <&${COPROC[0]}', { shell });
  });

  test('what a broken pipe does', { skip: noBash }, async () => {
    const script = '"$@" yes | head -n1; echo ${PIPESTATUS[0]}';
    await same(script, { shell: bash ?? '' });
    for (const { stdout } of (await both(script, { shell: bash ?? '' })).switched)
      assert.equal(stdout, 'y\n141\n');
  });

  test('nohup, behind it', async () => {
    // Node takes back that a signal is ignored before it comes to any JavaScript.
    await same('"$@" nohup sh -c "grep SigIgn /proc/self/status; kill -HUP \\$\\$; echo alive" 2>/dev/null');
  });

  test('nohup, before it, and what else is ignored', async () => {
    const ignoring = 'trap "" PIPE INT XFSZ; nohup "$@" sh -c "grep SigIgn /proc/self/status" 2>/dev/null';
    assert.deepEqual(await through(entries['without Node']!, ignoring), await through([], ignoring));
  });

  test(
    'a terminal',
    { skip: tools.which('script') === undefined && 'script(1) is not installed' },
    async () => {
      for (const entry of Object.values(entries)) {
        const inner = `${entry.join(' ')} run mimalloc -- sh -c "test -t 0 && test -t 1 && tty && ps -o stat= -p \\$\\$"`;
        const { stdout } = await succeed('script', ['-qec', inner, '/dev/null']);
        assert.match(stdout, /\/dev\/pts\/\d+\r\n.*\+/, 'in the foreground');
      }
    },
  );

  /** The program in a shell, which a process of that title starts with npm's variables. */
  async function inShellOf(title: string, entry: readonly string[], t: TestContext) {
    const starter = `process.title = ${JSON.stringify(title)};
      const args = ['-c', 'echo $$; "$0" "$@" run mimalloc -- cat; true', ...${JSON.stringify(entry)}];
      require('child_process').spawn('sh', args, { stdio: 'inherit' }).on('exit', () => console.log('gone'));
      setInterval(() => {}, 60_000);`;
    const child = start(process.execPath, ['-e', starter], { env: { npm_command: 'exec' } });
    t.onTestFinished(() => kill(child));
    let said = '';
    child.stdout?.on('data', (chunk) => (said += String(chunk)));
    const echo = async (line: string) => {
      child.stdin?.write(`${line}\n`);
      await tools.until(line, () => said.includes(`${line}\n`));
    };
    await echo('begun');
    const shell = Number(said.split('\n')[0]);
    const [pid] = readFileSync(`/proc/${shell}/task/${shell}/children`, 'utf8').split(' ');
    process.kill(shell, 'SIGKILL');
    await tools.until('the end of the shell', () => said.includes('gone\n'));
    return { pid, echo };
  }

  test('the shell of npx between: its end is the program’s', async (t) => {
    // npx starts `sh -c` and hands on only to that the signals it gets. The shell must not become the command.
    for (const entry of Object.values(entries)) {
      const { pid } = await inShellOf('npm exec malloc-backend run', entry, t);
      const ends = () =>
        !existsSync(`/proc/${pid}`) || /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
      await tools.until('the end of the program', ends);
    }
  });

  test('the shell of a tool that npx started: the program outlives it', async (t) => {
    for (const entry of Object.values(entries)) {
      const { echo } = await inShellOf('some-tool npm', entry, t);
      // (The signal would have been sent before the end of the shell was known.)
      await echo('more');
    }
  });

  test(
    'without a parent that can be seen, as in a container',
    { skip: tools.unshares('-p', '-f') },
    async () => {
      const env = { npm_command: 'exec' };
      for (const entry of Object.values(entries)) {
        const args = ['-p', '-f', ...entry, 'run', 'mimalloc', '--', 'cat'];
        assert.deepEqual(
          await run('unshare', args, { env, input: 'x' }),
          await run('cat', [], { input: 'x' }),
        );
      }
    },
  );

  test('the standard files, without /proc', { skip: tools.unshares('-m') }, async () => {
    const script = 'mount -t tmpfs none /proc && exec "$@"';
    const words = ['run', 'mimalloc', '--preset', 'none', '--', 'sh', '-c', 'cat; echo error >&2'];
    for (const entry of Object.values(entries)) {
      const { code, stdout, stderr } = await run(
        'unshare',
        ['-m', 'sh', '-c', script, 'sh', ...entry, ...words],
        {
          env: { npm_command: 'exec' },
          input: 'x',
        },
      );
      assert.deepEqual([code, stdout, stderr], [0, 'x', 'error\n']);
    }
  });
});

describe('run on jemalloc, whose presets start threads', { skip: cannotPreload }, () => {
  test('what changes its user and group', { skip: tools.cannotBeNobody }, async () => {
    for (const preset of ['low-rss', 'balanced', 'throughput']) {
      const args = ['run', 'jemalloc', '--preset', preset, '--', ...tools.asNobody, 'id', '-u'];
      const { code, stdout, stderr } = await command(args);
      assert.deepEqual([code, stdout, stderr], [0, '65534\n', '']);
    }
  });
});

describe('run', { skip: cannotPreload }, () => {
  test('proves: each backend serves, and no other that is preloaded', { skip: notGlibc }, async () => {
    const inside = await compiled('inside');
    const foreign = tools.foreignLibrary();
    for (const backend of SWITCHING) {
      const { stdout } = await command(['run', backend, inside, 'owner', 'environment'], {
        env: { LD_PRELOAD: foreign },
      });
      assert.match(stdout, new RegExp(`^malloc=${realpathSync(shim(backend))}$`, 'm'));
      assert.match(stdout, new RegExp(`^preload=${shim(backend)}$`, 'm'));
      assert.doesNotMatch(stdout, /^left=MALLOC_BACKEND_(?!JEMALLOC|MIMALLOC|RESTORE)/m);
    }
    const { stdout, stderr } = await command(['run', 'default', inside, 'owner'], {
      env: { LD_PRELOAD: foreign },
    });
    assert.match(stdout, /^malloc=.*\/libc\b.*$/m);
    assert.ok(stderr.includes(foreign));
  });

  test('default ends a switch', async () => {
    const args = [
      'run',
      'jemalloc',
      '--preset',
      'low-rss',
      process.execPath,
      cli,
      'run',
      'default',
      '--preset',
      'none',
      'env',
    ];
    const [nested, direct] = await Promise.all([command(args), run('env')]);
    const lines = (text: string) => text.split('\n').sort();
    assert.deepEqual(lines(nested.stdout), lines(direct.stdout));
  });

  test('children', async () => {
    const look =
      'for of in $$ self; do grep -o "libmalloc_backend_[a-z]*" /proc/$of/maps | uniq; done; echo ${LD_PRELOAD-unset}';
    const said = async (...args: string[]) =>
      (await command(['run', 'snmalloc', ...args, 'sh', '-c', look])).stdout;
    const own = 'libmalloc_backend_snmalloc\n';
    assert.equal(await said(), `${own}${own}${shim('snmalloc')}\n`);
    assert.equal(await said('--children', 'inherit'), `${own}${own}${shim('snmalloc')}\n`);
    assert.equal(await said('--children', 'none'), `${own}unset\n`);
  });
});

describe('run and python --if-supported, on another system', () => {
  const elsewhere = (...words: string[]) =>
    run(process.execPath, ['--require', tools.file('macos.cjs', tools.ELSEWHERE), cli, ...words]);

  test('the program runs as it is, and a line says so', async () => {
    const program = ['sh', '-c', 'printf "%s|" "$0" "$@"; cat; exit 7', 'a b', '--x', ''];
    const { code, stdout, stderr } = await run(
      process.execPath,
      [
        '--require',
        tools.file('macos.cjs', tools.ELSEWHERE),
        cli,
        'run',
        'jemalloc',
        '--if-supported',
        '--preset',
        'low-rss',
        '--',
        ...program,
      ],
      { input: 'in' },
    );
    assert.deepEqual([code, stdout], [7, 'a b|--x||in']);
    assert.match(
      stderr,
      /^malloc-backend: .*not on darwin; the program runs without a switch \(--if-supported\)\n$/,
    );
    const killed = await elsewhere('run', 'mimalloc', '--if-supported', 'sh', '-c', 'kill -TERM $$');
    assert.equal(killed.code, 128 + 15);
    const python = await elsewhere(
      'python',
      'jemalloc',
      '--mem',
      '--if-supported',
      '--python',
      'echo',
      '--',
      '-c',
      'x',
    );
    assert.deepEqual([python.code, python.stdout], [0, '-c x\n']);
    assert.match(python.stderr, /not on darwin; Python runs without a switch/);
  });

  /** A shell that waits, no longer than the command that started it is there. */
  function waiting(before: string) {
    const script = `${before} while kill -0 $PPID; do sleep 0.1; done`;
    return ['run', 'mimalloc', '--if-supported', '--', 'sh', '-c', script];
  }

  test('hands signals on', async () => {
    const child = start(process.execPath, [
      '--require',
      tools.file('macos.cjs', tools.ELSEWHERE),
      cli,
      ...waiting('trap "echo got; exit 3" TERM; echo ready;'),
    ]);
    child.stdout?.once('data', () => child.kill('SIGTERM'));
    const { code, stdout } = await ended(child);
    assert.deepEqual([code, stdout], [3, 'ready\ngot\n']);
  });

  test('and one that comes as the program starts', async () => {
    const early = `${tools.ELSEWHERE}
      const childProcess = require('node:child_process');
      const { spawn } = childProcess;
      childProcess.spawn = (...how) => {
        const child = spawn(...how);
        process.kill(process.pid, 'SIGTERM');
        return child;
      };`;
    const { code } = await run(process.execPath, [
      '--require',
      tools.file('early.cjs', early),
      cli,
      ...waiting(''),
    ]);
    assert.equal(code, 128 + 15);
  });

  test('refused without it, and wrong everywhere is wrong there', async () => {
    for (const words of [
      ['run', 'mimalloc', 'true'],
      ['python', 'mimalloc', '--', '-c', '1'],
    ]) {
      const { code, stdout, stderr } = await elsewhere(...words);
      assert.deepEqual([code, stdout], [126, '']);
      assert.match(
        stderr,
        /^malloc-backend: .*works on Linux only for now, not on darwin; with --if-supported/,
      );
    }
    for (const [words, status] of [
      [['run', 'tcmalloc', '--if-supported', 'true'], 2],
      [['run', 'mimalloc', '--if-supported'], 2],
      [['run', 'mimalloc', '--fast', 'true'], 2],
      [['run', 'mimalloc', '--if-supported', 'no-such-program'], 127],
      [['fly'], 2],
    ] as const)
      assert.equal((await elsewhere(...words)).code, status, words.join(' '));
  });

  test('help and version', async () => {
    for (const words of [['--help'], ['run', '-h'], ['help']]) {
      const { code, stdout } = await elsewhere(...words);
      assert.equal(code, 0);
      assert.match(stdout, /works on Linux only for now, not on darwin\n\nUsage: malloc-backend/);
    }
    const said = await elsewhere('-v');
    assert.match(said.stdout, /^\d+\.\d+\.\d+\n$/);
    assert.deepEqual(said, await elsewhere('--version'));
  });

  test('where there is a switch it changes nothing', { skip: cannotPreload }, async () => {
    const words = ['sh', '-c', 'echo $LD_PRELOAD'];
    const { stdout, stderr } = await run(tools.native, ['run', 'mimalloc', '--if-supported', '--', ...words]);
    assert.deepEqual([stdout, stderr], [`${shim('mimalloc')}\n`, '']);
    const MALLOC_BACKEND_BINARY_DIR = tools.copyOfBinaries('none', ['libmalloc_backend_mimalloc.so']);
    const env = { MALLOC_BACKEND_BINARY_DIR };
    assert.equal((await run(tools.native, ['run', 'mimalloc', '--if-supported', 'true'], { env })).code, 126);
  });
});
