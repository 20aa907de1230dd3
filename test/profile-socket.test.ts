// The socket at which a process gives profiles: who may come in, in which order, and what is left behind; and the command.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { type Socket, connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { requestProfile } from '../src/profile/live/client.js';
import { readProfile } from '../src/profile/pprof.js';
import * as tools from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { deep, profileOf, shop, shopBefore } from './support/profiles.js';
import { run } from './support/run.js';
import { cannotPreload, root } from './support/shims.js';
import { afterEach, describe, test } from './support/suite.js';

const FIXTURE = join(root, 'dist/test/fixtures-ts/profiled.js');

interface Profiled {
  child: ChildProcess;
  pid: number;
  path: string;
  /** Resolves at the line. */
  says(line: string): Promise<void>;
  said: string[];
}

let started: ChildProcess[] = [];
let folders = 0;

/** A folder for the sockets, which is nobody else's. */
function temporary(): string {
  const folder = tools.scratch(`tmp-${folders++}`);
  mkdirSync(folder, { mode: 0o700 });
  return folder;
}

async function profiled(
  words: string[] = [],
  { env = { TMPDIR: temporary() } as Record<string, string>, as = [] as readonly string[] } = {},
): Promise<Profiled> {
  const [program, ...args] = [...as, process.execPath, FIXTURE, ...words];
  const child = tools.watched(
    spawn(program!, args, { env: environment(env), stdio: ['pipe', 'pipe', 'inherit'] }),
  );
  started.push(child);
  const said: string[] = [];
  let rest = '';
  child.stdout!.on('data', (chunk: Buffer) => {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop()!;
    said.push(...lines);
  });
  const says = async (line: string) => {
    await tools.until(line, () => said.some((each) => each.startsWith(line)) || child.exitCode !== null);
  };
  await tools.until('a line', () => said.length > 0);
  const path = said.find((each) => each.startsWith('listens'))?.slice('listens '.length) ?? '';
  return { child, pid: child.pid!, path, says, said };
}

const skip = cannotPreload;

describe('the socket of a profiler', { skip }, () => {
  afterEach(() => {
    for (const child of started) child.kill('SIGKILL');
    started = [];
  });

  test('gives a profile to its user', async () => {
    const { pid, said } = await profiled();
    const states: string[] = [];
    const bytes = await requestProfile(
      pid,
      { profile: 'heap', seconds: 0.1 },
      { tell: (state) => states.push(state) },
    );
    assert.deepEqual(readProfile(bytes).sampleTypes, [{ type: 'x', unit: 'y' }]);
    assert.deepEqual(states, ['profiling']);
    assert.deepEqual(said.slice(1), ['start', 'stop']);
  });

  test('is in a folder that is private, and only its user can open it', async () => {
    const { path, child } = await profiled();
    assert.equal(lstatSync(path).mode & 0o777, 0o600);
    assert.equal(lstatSync(dirname(path)).mode & 0o777, 0o700);
    assert.equal(lstatSync(dirname(path)).uid, process.getuid!());
    child.stdin!.end();
    await once(child, 'exit');
    assert.ok(!existsSync(path), 'the process removes it at its end');
  });

  test('is in XDG_RUNTIME_DIR, if that is of this user', async () => {
    const [runtime, other] = [temporary(), temporary()];
    const { path } = await profiled([], { env: { XDG_RUNTIME_DIR: runtime, TMPDIR: other } });
    assert.equal(dirname(path), join(runtime, 'malloc-backend'));
  });

  test('does not keep a process alive', async () => {
    const { child } = await profiled(['ends']);
    if (child.exitCode === null) await once(child, 'exit');
    assert.equal(child.exitCode, 0);
  });

  test('ends when it is closed, and a profile with it', async () => {
    const { pid, child, path, says } = await profiled();
    const asked = requestProfile(pid, { profile: 'heap', seconds: 60 });
    const refused = tools.rejects(asked, 'ERR_PROFILE_SOCKET', /it may have ended/);
    await says('start');
    child.stdin!.write('close\n');
    await says('closed');
    await says('stop');
    await refused;
    assert.ok(!existsSync(path));
    await tools.rejects(
      requestProfile(pid, { profile: 'heap' }),
      'ERR_PROFILE_SOCKET',
      /does not listen for a profiler; start it by MALLOC_BACKEND_PROFILE=socket/,
    );
  });

  test('replaces the one of a process that was killed', async () => {
    const TMPDIR = temporary();
    const { child, path } = await profiled([], { env: { TMPDIR } });
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.ok(existsSync(path), 'it is left behind');
    // A process of the same id: this one's name is all that tells.
    const again = await withId(path, TMPDIR);
    assert.match(again, /^listens /);
  });

  test('does not replace one that is alive, nor a file', async () => {
    const TMPDIR = temporary();
    const { child, path } = await profiled([], { env: { TMPDIR } });
    assert.match(
      await withId(path, TMPDIR),
      /^ERR_PROFILE_SOCKET .*something listens there: another thread of this process/,
    );
    child.kill('SIGKILL');
    await once(child, 'exit');
    rmSync(path);
    writeFileSync(path, 'precious');
    assert.match(await withId(path, TMPDIR), /^ERR_PROFILE_SOCKET .*there is a file that is no socket/);
    assert.equal(readFileSync(path, 'utf8'), 'precious');
  });

  /** What the fixture says if it has the process id that the path names. */
  async function withId(path: string, TMPDIR: string): Promise<string> {
    const pid = /(\d+)\.sock$/.exec(path)![1]!;
    const preload = tools.file(
      `pid-${pid}.cjs`,
      `Object.defineProperty(process, 'pid', { value: ${pid} }); setTimeout(() => {}, 300);`,
    );
    const { stdout } = await run(process.execPath, ['--require', preload, FIXTURE, 'ends'], {
      env: { TMPDIR },
    });
    return stdout;
  }

  test('has a second client wait', async () => {
    const { pid, said } = await profiled();
    const states: string[] = [];
    const ask = (name: string) =>
      requestProfile(
        pid,
        { profile: 'heap', seconds: 0.5 },
        { tell: (state) => states.push(`${name} ${state}`) },
      ).then(() => states.push(`${name} done`));
    const first = ask('first');
    await tools.until('the first one', () => states.length > 0);
    await Promise.all([first, ask('second')]);
    // The second one begins while the first one's profile is on its way.
    assert.deepEqual(states.slice(0, 2), ['first profiling', 'second waiting']);
    assert.deepEqual(states.slice(2, 4).toSorted(), ['first done', 'second profiling']);
    assert.deepEqual(states.slice(4), ['second done']);
    assert.deepEqual(said.slice(1), ['start', 'stop', 'start', 'stop']);
  });

  test('stops the profile of a client that goes away, also of one that waits', async () => {
    const { pid, says, said } = await profiled();
    const [first, second] = [new AbortController(), new AbortController()];
    const request = { profile: 'heap', seconds: 60 } as const;
    const asked = tools.rejects(requestProfile(pid, request, { signal: first.signal }), 'ERR_ABORTED');
    await says('start');
    let isWaiting = false;
    const waits = tools.rejects(
      requestProfile(pid, request, { signal: second.signal, tell: () => (isWaiting = true) }),
      'ERR_ABORTED',
    );
    await tools.until('the second one', () => isWaiting);
    second.abort();
    await waits;
    first.abort();
    await asked;
    await says('stop');
    await requestProfile(pid, { profile: 'heap', seconds: 0.05 });
    // (The process may hear of the first one before it hears of the second.)
    assert.match(said.slice(1).join(' '), /^start stop( start stop){1,2}$/);
  });

  test('leaves a profile that the program has started running', async () => {
    const { pid, said } = await profiled(['running']);
    await requestProfile(pid, { profile: 'heap' });
    await requestProfile(pid, { profile: 'heap', seconds: 0.05 });
    await tools.rejects(
      requestProfile(pid, { profile: 'heap', interval: 4096 }),
      'ERR_INVALID_ARGUMENT',
      /the program has started a profile itself, with an interval of its own/,
    );
    assert.deepEqual(said.slice(1), ['snapshot', 'mark', 'change']);
  });

  test('closes the connection at garbage, and serves on', async () => {
    const { pid, path } = await profiled();
    const garbage = [
      'GET / HTTP/1.1\r\n\r\n',
      '\n',
      '{}\n',
      'null\n',
      '[1]\n',
      '{"profile":"cpu"}\n',
      'x'.repeat(257),
      `{"profile":"heap","more":"${'x'.repeat(300)}"}\n`,
      '\0\xff\n',
    ];
    for (const text of garbage) {
      const client = connect(path);
      const answer = collected(client);
      client.write(text);
      assert.equal(await answer, '', JSON.stringify(text.slice(0, 40)));
    }
    await requestProfile(pid, { profile: 'heap', seconds: 0.05 });
  });

  test('refuses a time that is none, with the reason', async () => {
    const { pid } = await profiled();
    for (const seconds of [0, -1, 3601, 1e300, '30', null])
      await tools.rejects(
        requestProfile(pid, { profile: 'heap', seconds: seconds as number }),
        'ERR_INVALID_ARGUMENT',
        /^process \d+: seconds must be a number above 0 and at most 3600, not /,
      );
  });

  test('says what went wrong with the profile', async () => {
    const { pid } = await profiled(['broken']);
    await tools.rejects(
      requestProfile(pid, { profile: 'heap', seconds: 1 }),
      'ERR_CANNOT_SWITCH',
      /^process \d+: it is broken$/,
    );
  });

  test('does not listen where others could replace its folder', async () => {
    const TMPDIR = temporary();
    const own = join(TMPDIR, `malloc-backend-${process.getuid!()}`);
    const refusal = async (pattern: RegExp, prepare: () => void) => {
      rmSync(own, { recursive: true, force: true });
      prepare();
      const { said } = await profiled([], { env: { TMPDIR } });
      assert.match(said[0] ?? '', /^ERR_PROFILE_SOCKET cannot listen for a profiler at /);
      assert.match(said[0]!, pattern);
      assert.match(said[0]!, /XDG_RUNTIME_DIR or TMPDIR names a folder of this user$/);
    };
    await refusal(/its mode is 755, and must be 700/, () => {
      mkdirSync(own, { mode: 0o755 });
      chmodSync(own, 0o755);
    });
    await refusal(/it is no folder/, () => symlinkSync(temporary(), own));
    await refusal(/it is no folder/, () => writeFileSync(own, ''));
    await refusal(/its mode is 777, so others could replace what is in it/, () => chmodSync(TMPDIR, 0o777));
    // The sticky bit lets nobody rename what is another one's.
    chmodSync(TMPDIR, 0o1777);
    const { path } = await profiled([], { env: { TMPDIR } });
    assert.ok(path.startsWith(own));
    chmodSync(TMPDIR, 0o700);
  });

  test('does not listen at a path that is too long', async () => {
    const TMPDIR = join(temporary(), 'x'.repeat(100));
    mkdirSync(TMPDIR);
    const { said } = await profiled([], { env: { TMPDIR } });
    assert.match(said[0] ?? '', /longer than 89 bytes, so no client could reach/);
  });

  test('does not listen in a folder of another user', { skip: tools.cannotBeNobody }, async () => {
    const TMPDIR = temporary();
    const own = join(TMPDIR, 'malloc-backend-0');
    mkdirSync(own, { mode: 0o700 });
    chownSync(own, 65534, 65534);
    const { said } = await profiled([], { env: { TMPDIR } });
    assert.match(said[0] ?? '', /it belongs to user 65534, and this process to 0/);
    rmSync(own, { recursive: true });
    chownSync(TMPDIR, 65534, 65534);
    const above = await profiled([], { env: { TMPDIR } });
    assert.match(above.said[0] ?? '', /user 65534 owns it, and could replace what is in it/);
  });

  /** Sends a request to a socket, and prints what comes. */
  const CLIENT = `const c = require('net').connect(process.argv[1]);
    c.on('error', (e) => console.log(e.code)).on('data', (d) => console.log(String(d).split('\\n')[0])).on('close', () => console.log('closed'));
    c.write('{"profile":"heap","seconds":0.05}\\n');`;

  test(
    'refuses another user, by the folder and by the credentials',
    { skip: tools.cannotBeNobody },
    async () => {
      const { path, said } = await profiled();
      const asNobody = () => {
        const [program = '', ...args] = tools.asNobody;
        return spawnSync(program, [...args, process.execPath, '-e', CLIENT, path], { encoding: 'utf8' })
          .stdout;
      };
      assert.match(asNobody(), /^EACCES/);
      // As if the folder and the socket were open to all.
      for (let each = dirname(path); each.includes('tmp-'); each = dirname(each)) chmodSync(each, 0o755);
      chmodSync(path, 0o666);
      const answer = asNobody();
      assert.doesNotMatch(answer, /state|EACCES/);
      assert.match(answer, /closed/);
      assert.deepEqual(said.slice(1), [], 'no profile was started');
    },
  );

  test('lets root in', { skip: tools.cannotBeNobody }, async () => {
    const TMPDIR = temporary();
    chownSync(TMPDIR, 65534, 65534);
    const { pid, path } = await profiled([], { env: { TMPDIR }, as: tools.asNobody });
    assert.equal(lstatSync(path).uid, 65534);
    await requestProfile(pid, { profile: 'heap', seconds: 0.05 });
  });

  const noMounts = tools.unshares('--mount');
  test('is found in another file system, as that of a container', { skip: noMounts }, async () => {
    const folder = temporary();
    const mount = 'mount -t tmpfs -o mode=700 none "$0" && exec "$@"';
    const { pid, path } = await profiled([], {
      env: { TMPDIR: folder },
      as: ['unshare', '--mount', 'sh', '-c', mount, folder],
    });
    assert.ok(path.startsWith(folder) && !existsSync(path));
    await requestProfile(pid, { profile: 'heap', seconds: 0.05 });
  });

  test('is asked for a process that there is not', async () => {
    await tools.rejects(requestProfile(2 ** 22 + 1, { profile: 'heap' }), 'ERR_PROCESS_NOT_FOUND');
    await tools.rejects(requestProfile(0, { profile: 'heap' }), 'ERR_INVALID_ARGUMENT');
    await tools.rejects(
      requestProfile(process.pid, { profile: 'heap' }),
      'ERR_PROFILE_SOCKET',
      /does not listen for a profiler/,
    );
  });

  test('of a process that answers with something else is an error', async () => {
    const TMPDIR = temporary();
    const path = join(TMPDIR, `profile-${process.pid}.sock`);
    for (const [text, pattern] of [
      ['HTTP/1.1 400 Bad Request\r\n\r\n', /no profiler of this version/],
      ['{"state":"done","bytes":100}\nabc', /before it sent a whole profile/],
      ['{"state":"done","bytes":3}\nabcd', /no profiler of this version/],
      ['{"state":"done","bytes":1e12}\n', /no profiler of this version/],
      ['{"state":"done","bytes":-1}\n', /no profiler of this version/],
      ['{"state":"failed","code":"\\u001b[2J","message":"x"}\n', /no profiler of this version/],
      ['{"state":"failed","code":"ERR_X"}\n', /no profiler of this version/],
      ['{"state":"\\u001b[2J"}\n', /no profiler of this version/],
      [
        '{"state":"failed","code":"ERR_PROFILE_SOCKET","message":"a\\u001b[2J\\nb\\u202ec"}\n',
        /: a\?\[2J\?b\?c$/,
      ],
      ['x'.repeat(100_000), /no profiler of this version/],
      ['', /before it sent a whole profile/],
    ] as const) {
      const server = createServer((client) =>
        client
          .on('error', () => {})
          .resume()
          .end(text),
      ).listen(path);
      await once(server, 'listening');
      await tools.rejects(requestProfile(process.pid, { profile: 'heap' }), 'ERR_PROFILE_SOCKET', pattern);
      server.close();
      await once(server, 'close');
    }
  });
});

async function collected(client: Socket): Promise<string> {
  let text = '';
  client.on('data', (chunk) => (text += chunk)).on('error', () => {});
  await once(client, 'close');
  return text;
}

describe('malloc-backend profile', { skip }, () => {
  afterEach(() => {
    for (const child of started) child.kill('SIGKILL');
    started = [];
  });

  const profile = (...words: string[]) => tools.command(['profile', ...words]);
  const [now, before] = [tools.scratch('now.pb.gz'), tools.scratch('before.pb.gz')];
  writeFileSync(now, profileOf(shop()));
  writeFileSync(before, profileOf(shopBefore()));

  test('writes the profile of a process, and its page', async () => {
    const { pid, said } = await profiled();
    const [file, html] = [tools.scratch('heap.pb.gz'), tools.scratch('heap.html')];
    const { code, stdout, stderr } = await profile(
      '--pid',
      `${pid}`,
      '--seconds',
      '0.2',
      '--interval',
      '4096',
      '-o',
      file,
      '--html',
      html,
    );
    assert.deepEqual([code, stdout], [0, ''], stderr);
    assert.equal(stderr, `profiling process ${pid} for 0.2 s\nprofile: ${file}\npage: ${html}\n`);
    assert.deepEqual(readProfile(readFileSync(file)).sampleTypes, [{ type: 'x', unit: 'y' }]);
    assert.match(readFileSync(html, 'utf8'), /^<!doctype html>/);
    assert.deepEqual(said.slice(1), ['start 4096', 'stop']);
  });

  test('says that it waits, and ends at Ctrl-C', async () => {
    const { pid, says } = await profiled();
    const first = new AbortController();
    const asked = tools.rejects(
      requestProfile(pid, { profile: 'heap', seconds: 60 }, { signal: first.signal }),
      'ERR_ABORTED',
    );
    await says('start');
    const child = spawn(
      process.execPath,
      [tools.cli, 'profile', '--pid', `${pid}`, '-o', tools.scratch('interrupted.pb.gz')],
      { env: environment(), stdio: ['ignore', 'ignore', 'pipe'] },
    );
    started.push(child);
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk));
    await tools.until('the command', () =>
      stderr.includes(`another client profiles process ${pid}; waiting`),
    );
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number];
    assert.equal(code, 130, stderr);
    assert.match(stderr, /malloc-backend: interrupted\n$/);
    assert.ok(!existsSync(tools.scratch('interrupted.pb.gz')));
    first.abort();
    await asked;
  });

  test('draws a file, alone and against another one', async () => {
    const [one, two, change] = [
      tools.scratch('one.html'),
      tools.scratch('two.html'),
      tools.scratch('diff.pb.gz'),
    ];
    assert.equal((await profile(now, '--html', one)).code, 0);
    assert.match(readFileSync(one, 'utf8'), /<h1>71\.8 MiB: memory in use<\/h1>/);
    const { code, stderr } = await profile(now, '--against', before, '--html', two, '-o', change);
    assert.deepEqual([code, stderr], [0, `profile: ${change}\npage: ${two}\n`]);
    assert.match(readFileSync(two, 'utf8'), /<h1>\+\d+\.\d MiB: memory in use, from/);
    assert.equal(readProfile(readFileSync(change)).samples.length, 3);
  });

  test('draws a profile of a hundred thousand frames', async () => {
    const file = tools.scratch('deep.pb.gz');
    writeFileSync(file, profileOf(deep(100_000)));
    const { code, stderr } = await profile(file, '--html', tools.scratch('deep.html'));
    assert.equal(code, 0, stderr);
  });

  test('says what is wrong, before it asks a process', async () => {
    const text = tools.file('text.txt', 'text', 0o644);
    const cases: [string[], number, RegExp][] = [
      [[], 2, /there is nothing to profile; write: malloc-backend profile --pid 4711 --html heap\.html/],
      [['--pid', '1'], 2, /there is nothing to write; write: malloc-backend profile --pid 4711 --html/],
      [[now], 2, /there is nothing to write; write: malloc-backend profile heap\.pb\.gz --html/],
      [[now, '-o', 'x.pb.gz'], 2, /there is nothing to write/],
      [['--pid', '1', now, '--html', 'x'], 2, /cannot be used with/],
      [[now, '--seconds', '3', '--html', 'x'], 2, /--seconds|--pid/],
      [
        ['--pid', 'x', '--html', tools.scratch('x')],
        2,
        /--pid needs a process id, a positive integer, not "x"/,
      ],
      [['--pid', '-3', '--html', tools.scratch('x')], 2, /--pid needs a process id/],
      [
        ['--pid', '1', '--seconds', '0', '--html', tools.scratch('x')],
        2,
        /--seconds must be a number above 0 and at most 3600, not "0"/,
      ],
      [[now, '--interval', '4096', '--html', 'x'], 2, /--interval|--pid/],
      [
        ['--pid', '1', '--interval', '63', '--html', tools.scratch('x')],
        2,
        /--interval must be an integer from 64 to 1073741824, not "63"/,
      ],
      [['--pid', '1', '--interval', '4k', '--html', tools.scratch('x')], 2, /--interval must be .* not "4k"/],
      [['--pid', `${2 ** 22 + 1}`, '--html', tools.scratch('x')], 1, /there is no process 4194305/],
      [['--pid', `${process.pid}`, '--html', tools.scratch('x')], 1, /does not listen for a profiler/],
      [[tools.scratch('none'), '--html', tools.scratch('x')], 1, /cannot read the profile .*none: ENOENT/],
      [[text, '--html', tools.scratch('x')], 1, /text\.txt is no profile in pprof format/],
      [[now, '--against', text, '--html', tools.scratch('x')], 1, /text\.txt is no profile in pprof format/],
      [[now, '--html', '/none/x.html'], 1, /cannot write \/none\/x\.html/],
    ];
    for (const [words, status, pattern] of cases) {
      const { code, stdout, stderr } = await profile(...words);
      assert.deepEqual([code, stdout], [status, ''], `${words.join(' ')}: ${stderr}`);
      assert.match(stderr, pattern);
      assert.match(stderr, /^malloc-backend: /);
    }
    assert.ok(!existsSync(tools.scratch('x')));
  });
});
