// A live service from end to end: a real profile by the command, over HTTP and from TypeScript, and its page.

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { heapProfile } from '../index.js';
import { dataOf } from '../src/profile/picture/read.js';
import { rowsOf, sorted } from '../src/profile/picture/tables.js';
import { readProfile } from '../src/profile/pprof.js';
import * as tools from './fixtures-ts/tools.js';
import { Browsing, noBrowser } from './support/browser.js';
import { environment } from './support/environment.js';
import { run } from './support/run.js';
import { cannotPreload, root } from './support/shims.js';
import { afterEach, describe, test } from './support/suite.js';
import { join } from 'node:path';

const entry = join(root, 'dist/src/profile/register.js');
const skip = cannotPreload || (process.arch !== 'x64' && 'heap profiles need x64');

/** A service that leaks 64 KiB in every 2 ms, in a function that the profile has to name. */
const LEAK = `import { createServer } from 'node:http';
import { heapProfile, heapProfileHandler } from ${JSON.stringify(tools.index)};
const kept = [];
function leakHere() {
  kept.push(Buffer.alloc(65536, 1));
}
setInterval(leakHere, 2);
if (process.argv.includes('started')) heapProfile.start({ interval: 65536 });
const handler = heapProfileHandler();
createServer((request, response) => void handler(request, response)).listen(0, '127.0.0.1', function () {
  console.log('port ' + this.address().port);
});
`;

let started: ChildProcess[] = [];
let folders = 0;

async function service(
  words: string[] = [],
  env: Record<string, string> = { MALLOC_BACKEND_PROFILE: 'socket' },
) {
  const TMPDIR = tools.scratch(`live-${folders++}`);
  mkdirSync(TMPDIR, { mode: 0o700 });
  const file = tools.file('leak.mjs', LEAK, 0o644);
  const child = tools.watched(
    spawn(process.execPath, ['--import', entry, file, ...words], {
      env: environment({ TMPDIR, ...env }),
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  started.push(child);
  let said = '';
  child.stdout!.on('data', (chunk: Buffer) => (said += chunk));
  const port = await tools.until('the service', () => /port (\d+)/.exec(said)?.[1]);
  return { child, pid: child.pid!, port: Number(port) };
}

const top = (bytes: Uint8Array) => {
  const data = dataOf(readProfile(bytes));
  return sorted(data, rowsOf(data, data.first, 'functions'), 'own')[0]!;
};

describe('a live service', { skip }, () => {
  afterEach(() => {
    for (const child of started) child.kill('SIGKILL');
    started = [];
  });

  test('is profiled by the command, and the page names who leaks', async () => {
    const { pid } = await service();
    const [file, html] = [tools.scratch('live.pb.gz'), tools.scratch('live.html')];
    const words = ['profile', '--pid', `${pid}`, '--seconds', '3', '-o', file, '--html', html];
    const { code, stderr } = await tools.command(words);
    assert.equal(code, 0, stderr);
    const row = top(readFileSync(file));
    assert.equal(row.name, 'leakHere');
    assert.match(row.detail, /leak\.mjs:[45]$/);
    assert.ok(row.own.after > 2 ** 22, `${row.own.after} bytes`);
    const text = readFileSync(html, 'utf8');
    assert.match(/<tbody>\s*<tr>.*?<\/tr>/s.exec(text)![0], /leakHere/);
  });

  test('is profiled in a worker of a cluster, which is another process', async () => {
    const TMPDIR = tools.scratch(`live-${folders++}`);
    mkdirSync(TMPDIR, { mode: 0o700 });
    const source = `import cluster from 'node:cluster';
if (cluster.isPrimary) cluster.fork();
else {
  const kept = [];
  const leakInWorker = () => kept.push(Buffer.alloc(65536, 1));
  setInterval(() => leakInWorker(), 2);
  console.log('worker ' + process.pid);
}`;
    const child = tools.watched(
      spawn(process.execPath, ['--import', entry, tools.file('cluster.mjs', source, 0o644)], {
        env: environment({ TMPDIR, MALLOC_BACKEND_PROFILE: 'socket' }),
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    );
    started.push(child);
    let said = '';
    child.stdout!.on('data', (chunk: Buffer) => (said += chunk));
    const worker = await tools.until('the worker', () => /worker (\d+)/.exec(said)?.[1]);
    const file = tools.scratch('worker.pb.gz');
    const profiled = async (pid: string) => {
      const { code, stderr } = await tools.command(['profile', '--pid', pid, '--seconds', '2', '-o', file]);
      assert.equal(code, 0, stderr);
      return readProfile(readFileSync(file));
    };
    const names = ({ samples }: Awaited<ReturnType<typeof profiled>>) =>
      JSON.stringify(samples, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
    assert.match(names(await profiled(worker)), /leakInWorker/);
    assert.doesNotMatch(names(await profiled(`${child.pid}`)), /leakInWorker/);
  });

  test('gives a scraper what its own profile has, and what changed in a time', async () => {
    const { port, pid } = await service(['started']);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const whole = await fetched(port, '');
    assert.equal(top(whole).name, 'leakHere');
    const change = await fetched(port, '?seconds=1');
    assert.equal(top(change).name, 'leakHere');
    const sum = (bytes: Uint8Array) =>
      readProfile(bytes).samples.reduce((all, { values }) => all + values[3]!, 0);
    const later = await fetched(port, '');
    assert.ok(sum(later) > sum(whole));
    // The command, too: at once.
    const file = tools.scratch('snapshot.pb.gz');
    const begun = performance.now();
    assert.equal((await tools.command(['profile', '--pid', `${pid}`, '-o', file])).code, 0);
    assert.ok(performance.now() - begun < 20_000);
    assert.equal(top(readFileSync(file)).name, 'leakHere');
  });

  test('does not listen by default, and says how it would', async () => {
    const { pid } = await service([], { MALLOC_BACKEND_PROFILE_FILE: tools.scratch('own-%p.pb.gz') });
    const file = tools.scratch('none.pb.gz');
    const { code, stderr } = await tools.command(['profile', '--pid', `${pid}`, '-o', file]);
    assert.equal(code, 1);
    assert.match(stderr, /does not listen for a profiler; start it by MALLOC_BACKEND_PROFILE=socket/);
    assert.ok(!existsSync(file));
  });

  test('ends where it cannot listen, or was told two things', async () => {
    const begin = (env: Record<string, string>) =>
      run(process.execPath, ['--import', entry, '-e', ''], { env });
    const cases: [Record<string, string>, RegExp][] = [
      [
        { MALLOC_BACKEND_PROFILE: 'sokcet' },
        /MALLOC_BACKEND_PROFILE must be "socket", or missing .*"sokcet"/,
      ],
      [
        { MALLOC_BACKEND_PROFILE: 'socket', MALLOC_BACKEND_PROFILE_FILE: 'x' },
        /MALLOC_BACKEND_PROFILE_FILE has no effect with MALLOC_BACKEND_PROFILE=socket/,
      ],
      [{ MALLOC_BACKEND_PROFILE: 'socket', TMPDIR: '/none' }, /cannot listen for a profiler at \/none/],
    ];
    for (const [env, pattern] of cases) {
      const { code, stderr } = await begin({ XDG_RUNTIME_DIR: '', ...env });
      assert.equal(code, 1, stderr);
      assert.match(stderr, pattern);
    }
    assert.equal(
      (await begin({ MALLOC_BACKEND_PROFILE: 'socket', TMPDIR: tools.scratch('live-0') })).code,
      0,
    );
  });
});

function fetched(port: number, query: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    get({ port, host: '127.0.0.1', path: `/debug/pprof/heap${query}` }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const body = Buffer.concat(chunks);
        if (response.statusCode === 200) resolve(body);
        else reject(new Error(`${response.statusCode}: ${body}`));
      });
    }).on('error', reject);
  });
}

describe('heapProfile', { skip }, () => {
  test('draws, subtracts and listens', async () => {
    heapProfile.start({ interval: 4096 });
    const kept: Buffer[] = [];
    function keep(): void {
      for (let at = 0; at < 100; at++) kept.push(Buffer.alloc(65_536));
    }
    const before = await heapProfile.snapshot();
    keep();
    const after = await heapProfile.stop();
    assert.equal(kept.length, 100);
    const grown = heapProfile.diff(before, after);
    assert.equal(top(grown).name, 'keep');
    assert.match(heapProfile.html(after), /memory in use<\/h1>/);
    assert.match(heapProfile.html(after, { against: before }), /<h1>\+.*keep/s);
    tools.refuses(
      () => heapProfile.html(after, { agianst: before } as never),
      'ERR_INVALID_ARGUMENT',
      /Did you mean/,
    );
    tools.refuses(() => heapProfile.html(Buffer.from('x')), 'ERR_PROFILE_INVALID');
    const [socket, same] = [await heapProfile.listen(), await heapProfile.listen()];
    assert.equal(socket.path, same.path);
    await socket.close();
    assert.ok(!existsSync(socket.path));
    const again = await heapProfile.listen();
    assert.equal(again.path, socket.path);
    await again.close();
  });
});

describe('a real profile', { skip }, () => {
  const make = async () => {
    heapProfile.start({ interval: 4096 });
    const kept: Buffer[] = [];
    function keep(): void {
      for (let at = 0; at < 200; at++) kept.push(Buffer.alloc(65_536));
    }
    keep();
    return heapProfile.stop();
  };

  test(
    'is read by go tool pprof',
    { skip: tools.which('go') === undefined && 'Go is not installed' },
    async () => {
      const file = tools.scratch('real.pb.gz');
      writeFileSync(file, await make());
      const text = execFileSync('go', ['tool', 'pprof', '-top', '-cum', '-symbolize=none', file], {
        encoding: 'utf8',
        env: { ...process.env, HOME: tools.scratch('home'), PPROF_TMPDIR: tools.scratch('pprof') },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      assert.match(text, /^Type: inuse_space$/m);
      assert.match(text, /\bkeep\b/);
    },
  );

  test('is drawn', { skip: noBrowser }, async () => {
    const browsing = await Browsing.start();
    try {
      const shown = await browsing.show(heapProfile.html(await make()));
      await shown.page.getByRole('searchbox').fill('keep');
      await shown.page.locator('.frame.found').first().waitFor();
      assert.match(await shown.page.locator('#functions tbody tr').first().innerText(), /^keep/);
      assert.deepEqual([shown.messages, shown.requests], [[], []]);
      const folder = process.env['SCREENSHOTS'];
      if (folder !== undefined)
        await shown.page.screenshot({ path: join(root, folder, 'real.png'), fullPage: true });
    } finally {
      await browsing.end();
    }
  });
});
