// The measuring launcher behind `compare`: what it says of a program is what the program knows of itself, and it leaves
// nothing running.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { EndEvent as End, SampleEvent as Sample, StartEvent as Start } from '../src/compare/launcher.js';
import * as tools from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { compiled } from './support/native.js';
import { type Options, type Outcome, kill, run, start, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, notGlibc, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

const { native, until } = tools;
const MIB = 2 ** 20;

interface Failed {
  event: 'error';
  code: string;
  message: string;
}

type Event = Start | Sample | End | Failed;

/** What the program says of itself (test/c/measured.c). */
interface Own {
  pid: number;
  cpu: number;
  peak: number;
}

const parse = (text: string): Event[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Event);

/** Runs a program to its end. */
async function measured(words: readonly string[], options: string[] = [], more: Options = {}) {
  const outcome = await run(native, ['measure', 'default', ...options, '--', ...words], more);
  return { ...outcome, ...told(outcome) };
}

/** The events of a run that was measured. */
function told({ code, stderr, third }: Outcome) {
  const events = parse(third);
  assert.equal(code, 0, third + stderr);
  const [first, ...rest] = events;
  const last = rest.pop();
  assert.ok(first?.event === 'start' && last?.event === 'end', third);
  const samples = rest.map((event) => (event.event === 'sample' ? event : assert.fail(third)));
  return { first, samples, last };
}

/** Why a run was not. */
async function refused(words: readonly string[], options: Options = {}): Promise<Failed> {
  const { code, third } = await run(native, ['measure', ...words], options);
  assert.equal(code, 1, third);
  const [only, ...rest] = parse(third);
  assert.ok(only?.event === 'error', third);
  assert.deepEqual(rest, []);
  return only;
}

/** The same figure, but for a part of it and for what comes before and after the program's own look at itself. */
function isNear(actual: number, expected: number, part: number, slack: number): void {
  const difference = Math.abs(actual - expected);
  assert.ok(difference <= expected * part + slack, `${actual} is not ${expected}, by ${difference}`);
}

const own = ({ stdout }: { stdout: string }) => JSON.parse(stdout.split('\n')[0]!) as Own;

/** Whether there is such a process, and it has not ended. */
function lives(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** A launcher that runs, with what it and its program say. */
function launched(words: readonly string[]) {
  const child = start(native, words as string[]);
  const closed = once(child, 'close');
  const events: Event[] = [];
  const said: string[] = [];
  lines(child, 1, (line) => said.push(line));
  lines(child, 3, (line) => events.push(JSON.parse(line) as Event));
  child.stderr?.resume();
  const says = () => until(`the program of ${words.join(' ')}`, () => said.length > 0 && said);
  const sample = (what: string, is: (sample: Sample) => boolean) =>
    until(what, () => events.find((event) => event.event === 'sample' && is(event)));
  return { child, closed, events, said, says, sample };
}

function lines(child: ChildProcess, fd: number, each: (line: string) => void): void {
  createInterface(child.stdio[fd] as Readable).on('line', each);
}

const gone = (pids: readonly number[]) => until('the end of all', () => !pids.some(lives));

/** What the program and its daemon, which ignores signals, say. */
async function withDaemon(options: string[] = []) {
  const launcher = launched(['measure', 'default', ...options, '--', await compiled('measured'), 'sleep']);
  const pids = await until('both', () => {
    const pids = launcher.said.map((line) => (JSON.parse(line) as Own).pid);
    return pids.length === 2 && pids;
  });
  const [outer] = [launcher.child.pid ?? assert.fail()];
  const [inner] = readFileSync(`/proc/${outer}/task/${outer}/children`, 'utf8').split(' ').map(Number);
  assert.ok(inner !== undefined && pids.every(lives));
  return { ...launcher, pids, outer, inner };
}

describe('measure', { skip: cannotPreload }, () => {
  for (const backend of ['default', ...SWITCHING] as const) {
    test(`tells the proof, the peak and the end, on ${backend}`, async () => {
      const program = await compiled('measured');
      const outcome = await run(native, ['measure', backend, '--', program, 'peak', '100']);
      const { first, last } = told(outcome);
      const { pid, peak } = own(outcome);
      assert.deepEqual([first.pid, first.proof.pid], [pid, pid]);
      assert.deepEqual([first.proof.backend, first.proof.library], [backend, shim(backend)]);
      isNear(last.peakRss, peak, 0.02, 0);
      assert.ok(last.treePeakRss >= last.peakRss);
      assert.ok(last.minorFaults >= (100 * MIB) / 65536, 'pages of 64 KiB at most');
      assert.deepEqual([last.code, last.signal, last.leftBehind], [0, null, 0]);
      isNear(last.at - first.at, last.wall * 1000, 0, 0.01);
    });
  }

  test('the peak is the program’s own where whoever measures has been larger', async () => {
    const large = Buffer.alloc(500 * MIB, 1);
    for (const mib of ['4', '40']) {
      const outcome = await measured([await compiled('measured'), 'peak', mib]);
      isNear(outcome.last.peakRss, own(outcome).peak, 0.02, 0);
    }
    assert.equal(large[500 * MIB - 1], 1);
  });

  test('of a program that becomes another one, the peak is the higher one', async () => {
    const program = await compiled('measured');
    const outcome = await measured([program, 'peak', '60', 'then', program, 'peak', '8']);
    isNear(outcome.last.peakRss, own(outcome).peak, 0.02, 0);
    const reverse = await measured(['sh', '-c', `exec ${program} peak 60`]);
    isNear(reverse.last.peakRss, own(reverse).peak, 0.02, 0);
    assert.equal(own(reverse).pid, reverse.first.pid);
  });

  test('what its children have used is in the tree, and not in the program', async () => {
    const outcome = await measured(['sh', '-c', `${await compiled('measured')} peak 120; :`]);
    assert.ok(outcome.last.peakRss < 20 * MIB, `${outcome.last.peakRss}`);
    assert.ok(outcome.last.treePeakRss >= own(outcome).peak * 0.98, `${outcome.last.treePeakRss}`);
    // The child is small, and the program grows after its end.
    const grows = `/bin/true; exec ${await compiled('measured')} peak 120`;
    const late = await measured(['sh', '-c', grows]);
    isNear(late.last.peakRss, own(late).peak, 0.02, 0);
  });

  for (const [name, words] of [
    ['one thread', ['work', '400']],
    ['threads', ['threads', '4', '100']],
    ['children', ['fork', '4', '100']],
    ['a daemon', ['daemon', '400']],
  ] as const) {
    test(`the CPU time of ${name}`, async () => {
      const program = await compiled('measured');
      const outcome = await measured([program, ...words]);
      const { user, system } = outcome.last;
      isNear(user + system, own(outcome).cpu, 0.05, 0.005);
      const { cpu } = outcome.samples.at(-1) ?? assert.fail();
      assert.ok(cpu <= user + system + 0.011, `${cpu} was seen, and ${user + system} was used`);
    });
  }

  test(
    'the CPU time that time(1) tells',
    { skip: tools.which('time') === undefined && 'time(1) is not installed' },
    async () => {
      const words = [await compiled('measured'), 'fork', '3', '150'];
      const { stderr } = await succeed(tools.which('time') ?? '', ['-f', '%U %S %M', ...words]);
      const [user = NaN, system = NaN] = stderr.trim().split(' ').map(Number);
      const { last } = await measured(words);
      // (time(1) cuts each off at a hundredth.)
      isNear(last.user + last.system, user + system, 0.05, 0.02);
    },
  );

  test('the CPU time of children that the kernel forgets, as far as it was seen', async () => {
    const outcome = await measured([await compiled('measured'), 'ignore', '1', '1000']);
    const { user, system } = outcome.last;
    const { cpu } = own(outcome);
    assert.ok(user + system > cpu * 0.75 && user + system < cpu * 1.05 + 0.01, `${user + system} of ${cpu}`);
  });

  test('samples follow the memory and the processes', async () => {
    const program = await compiled('measured');
    // The shell stays, and so does its input for the program.
    const options = ['--stdin', '--interval', '5', '--pss', '20'];
    const words = ['measure', 'default', ...options, '--', 'sh', '-c', `${program} hold 64; :`];
    const { child, closed, events, says, sample } = launched(words);
    await says();
    await sample('PSS', ({ treePss = 0 }) => treePss > 64 * MIB);
    const before = events.length;
    child.stdin?.write('release\n');
    const after = await until('the release', () =>
      events.slice(before).find((event) => event.event === 'sample' && event.treeRss < 20 * MIB),
    );
    assert.ok(after.event === 'sample' && after.processes === 2 && after.rss < after.treeRss);
    child.stdin?.end();
    await closed;
    const samples = events.filter((event) => event.event === 'sample');
    const last = events.at(-1);
    assert.ok(last?.event === 'end' && last.treePeakRss > 64 * MIB && last.peakRss < 20 * MIB);
    samples.forEach(({ at, cpu, rss, treeRss, pss, treePss }, index) => {
      const { at: earlier, cpu: less } = samples[index - 1] ?? { at: 0, cpu: 0 };
      assert.ok(at > earlier && cpu >= less && rss <= treeRss && treeRss <= last.treePeakRss);
      // (A page that several share counts for each in RSS, and its part for each in PSS.)
      assert.ok((pss ?? 0) <= (treePss ?? 0) && (treePss ?? 0) <= last.treePeakRss * 1.02);
    });
  });

  test('samples show the memory of a program whose first thread has ended', async () => {
    const program = await compiled('measured');
    const words = ['measure', 'default', '--stdin', '--', program, 'outlive', '64'];
    const { child, closed, says, sample } = launched(words);
    await says();
    await sample('the memory', ({ rss }) => rss > 64 * MIB);
    child.stdin?.end();
    assert.deepEqual(await closed, [0, null]);
  });

  test('the time is that of process.hrtime()', async () => {
    const now = () => Number(process.hrtime.bigint()) / 1e6;
    const before = now();
    const { first, samples, last } = await measured(['true']);
    const times = [before, first.at, ...samples.map(({ at }) => at), last.at, now()];
    assert.deepEqual(
      times,
      times.toSorted((one, other) => one - other),
    );
  });

  test('the program reads nothing, unless it shall', async () => {
    assert.equal((await measured(['cat'], [], { input: 'text' })).stdout, '');
    assert.equal((await measured(['cat'], ['--stdin'], { input: 'text' })).stdout, 'text');
  });

  test('the program finds everything else as it is', async () => {
    const script = `grep -E '^Sig(Blk|Ign|Pnd)' /proc/self/status; ulimit -n; ls /proc/self/fd | tr '\\n' ' '; env | grep MALLOC_BACKEND`;
    const seen = await measured(['sh', '-c', script], ['--preset', 'none']);
    const direct = await run('sh', ['-c', `exec 3>&- </dev/null; ${script}`]);
    assert.equal(seen.stdout, direct.stdout);
  });

  test('how the program ends is no error', async () => {
    const { last, code } = await measured(['sh', '-c', 'exit 3']);
    assert.deepEqual([last.code, last.signal, code], [3, null, 0]);
    const crashed = await measured(['sh', '-c', 'kill -SEGV $$']);
    assert.deepEqual([crashed.last.code, crashed.last.signal], [null, 'SIGSEGV']);
    const killed = await measured(['sh', '-c', 'kill -KILL $$']);
    assert.equal(killed.last.signal, 'SIGKILL');
    // A signal to its own group is not one to the launcher, which would kill it after the grace.
    const group = `trap : TERM; kill -TERM 0; ${await compiled('measured')} work 300; exit 6`;
    assert.equal((await measured(['sh', '-c', group], ['--grace', '50'])).last.code, 6);
  });

  describe('leaves nothing running', () => {
    test('of what the program has left behind', async () => {
      const left = `setsid sleep 1000 & setsid sh -c 'trap "" TERM; exec sleep 1000' & exit 5`;
      const { last } = await measured(['sh', '-c', left], ['--grace', '100']);
      assert.deepEqual([last.code, last.leftBehind], [5, 2]);
      // Whoever ends before the program is not left.
      assert.equal((await measured(['sh', '-c', 'true & wait'])).last.leftBehind, 0);
    });

    test('and waits for it where it is to', async () => {
      const script = `(${await compiled('measured')} work 200 &)`;
      const outcome = await measured(['sh', '-c', script], ['--follow']);
      assert.equal(outcome.last.leftBehind, 0);
      isNear(outcome.last.user + outcome.last.system, own(outcome).cpu, 0.05, 0.01);
      assert.ok(outcome.last.wall >= 0.2, `${outcome.last.wall}`);
    });

    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      test(`after ${signal}, which the program gets`, async () => {
        const script = `trap 'exit 7' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`;
        const { child, closed, events, says } = launched(['measure', 'mimalloc', '--', 'sh', '-c', script]);
        await says();
        child.kill(signal);
        assert.deepEqual(await closed, [0, null]);
        const last = events.at(-1);
        assert.ok(last?.event === 'end');
        assert.deepEqual([last.code, last.signal], [7, null]);
      });

      test(`after ${signal} to one that goes on`, async () => {
        const { child, closed, events, pids } = await withDaemon(['--grace', '200']);
        child.kill(signal);
        await closed;
        assert.ok(!pids.some(lives));
        const last = events.at(-1);
        assert.ok(last?.event === 'end' && last.signal === signal && last.leftBehind === 1);
      });
    }

    test('after SIGKILL to the launcher, and to the one that measures', async () => {
      for (const which of ['outer', 'inner'] as const) {
        const { closed, pids, ...launcher } = await withDaemon();
        process.kill(launcher[which], 'SIGKILL');
        await gone([...pids, launcher.outer, launcher.inner]);
        await closed;
      }
    });

    test('after the end of its parent', async () => {
      const report = openSync(tools.scratch('parent.jsonl'), 'w');
      const words = ['measure', 'default', '--', await compiled('measured'), 'sleep'];
      // The pipe to this process does not tell: the report goes to a file.
      const parent = spawn('sh', ['-c', '"$@" & wait', 'sh', native, ...words], {
        stdio: ['ignore', 'pipe', 'inherit', report],
        env: environment(),
        detached: true,
      });
      closeSync(report);
      try {
        const said: string[] = [];
        lines(parent, 1, (line) => said.push(line));
        await until('both', () => said.length === 2);
        const pids = said.map((line) => (JSON.parse(line) as Own).pid);
        process.kill(parent.pid ?? assert.fail(), 'SIGKILL');
        await gone(pids);
      } finally {
        kill(parent);
      }
    });

    test('after its reader has gone', async () => {
      const { child, closed, pids } = await withDaemon();
      (child.stdio[3] as Readable).destroy();
      await gone(pids);
      await closed;
    });

    test('of processes that are replaced faster than one looks', async () => {
      const words = [
        'measure',
        'default',
        '--follow',
        '--grace',
        '0',
        '--',
        await compiled('measured'),
        'hop',
      ];
      const { child, closed, events, says } = launched(words);
      // The first of them has ended, and others go on.
      const { pid } = JSON.parse((await says())[0]!) as Own;
      await until('the next', () => !lives(pid));
      child.kill('SIGTERM');
      await closed;
      assert.equal(events.at(-1)?.event, 'end');
    });
  });

  describe('says why a program was not measured', () => {
    test('before it is started', async () => {
      for (const [words, code] of [
        [['mimalloc', '--', 'no-such-program'], 'ERR_PROGRAM_NOT_FOUND'],
        [['mimalloc', '--', '/etc/passwd'], 'ERR_PROGRAM_NOT_EXECUTABLE'],
        [['jemalloc', '--set', 'no_such=1', '--', 'true'], 'ERR_UNKNOWN_OPTION'],
        [['snmalloc', '--preset', 'low-rss', '--', 'true'], 'ERR_UNKNOWN_PRESET'],
        [['rust', '--', 'true'], 'ERR_BACKEND_UNAVAILABLE'],
        [['tcmalloc', '--', 'true'], 'ERR_UNKNOWN_BACKEND'],
      ] as const)
        assert.equal((await refused(words)).code, code, words.join(' '));
      const fixed = tools.staticProgram('static-measured', 'int main(void) { return 0; }');
      if (fixed !== undefined)
        assert.equal((await refused(['mimalloc', '--', fixed])).code, 'ERR_CANNOT_SWITCH');
    });

    test('where the system refuses to start it', async () => {
      const program = tools.file('busy', readFileSync('/bin/true'));
      const open = openSync(program, 'r+');
      const { code, message } = await refused(['default', '--', program]);
      closeSync(open);
      assert.deepEqual(
        [code, message],
        ['ERR_EXEC_FAILED', `cannot start ${program}: Text file busy (os error 26)`],
      );
    });

    test('where it does not prove the backend', async () => {
      const folder = tools.copyOfBinaries('measured', ['libmalloc_backend_mimalloc.so']);
      tools.ignoredLibrary('measured/libmalloc_backend_mimalloc.so');
      const env = { MALLOC_BACKEND_BINARY_DIR: folder };
      // One that ends, and one that does not.
      for (const words of [['true'], ['tail', '-f', '/dev/null']]) {
        const { code, message } = await refused(['mimalloc', '--', ...words], { env });
        assert.equal(code, 'ERR_NOT_APPLIED');
        assert.match(message, /does not run on mimalloc: .*the (?:dynamic )?loader (?:may have )?ignored/);
      }
    });

    test(
      'where its library says that it is not applied, or never says anything',
      { skip: notGlibc },
      async () => {
        const folder = tools.copyOfBinaries('others', ['libmalloc_backend_mimalloc.so']);
        const env = { MALLOC_BACKEND_BINARY_DIR: folder };
        const library = (constructor: string) =>
          tools.cc(
            'others/libmalloc_backend_mimalloc.so',
            `#include <stdio.h>
          #include <stdlib.h>
          #include <signal.h>
          #include <unistd.h>
          __attribute__((constructor)) static void begin(void) { ${constructor} }`,
            ['-shared', '-fPIC'],
          );
        const line = JSON.stringify(
          JSON.stringify({
            pid: 0,
            backend: 'mimalloc',
            version: '',
            library: '',
            owner: '/elsewhere.so',
            applied: false,
          }),
        ).replace('\\"pid\\":0', '\\"pid\\":%d');
        library(`dprintf(atoi(getenv("MALLOC_BACKEND_REPORT")), ${line} "\\n", getpid());`);
        const other = await refused(['mimalloc', '--', 'tail', '-f', '/dev/null'], { env });
        assert.match(other.message, /tail does not run on mimalloc: it uses the malloc of \/elsewhere\.so$/);
        library('kill(getpid(), SIGKILL);');
        const ended = await refused(['mimalloc', '--', 'true'], { env });
        assert.match(
          ended.message,
          /true does not run on mimalloc: SIGKILL ended it before the library reported$/,
        );
        library('for (;;) pause();');
        const hung = await refused(['mimalloc', '--', 'true'], { env });
        assert.match(
          hung.message,
          /the library has not reported, and the program has slept for \d+ s before its main/,
        );
        for (const { code } of [other, ended, hung]) assert.equal(code, 'ERR_NOT_APPLIED');
      },
    );

    test('and what is wrong with its own words', async () => {
      for (const [words, message] of [
        [['--interval', '0', 'default', 'true'], '--interval needs milliseconds, 1 or more, not "0"'],
        [['--grace', 'x', 'default', 'true'], '--grace needs milliseconds, 0 or more, not "x"'],
        [
          ['--report-fd', 'x', 'default', 'true'],
          '--report-fd needs the number of a file descriptor, not "x"',
        ],
        [
          ['--report-fd', '77', 'default', 'true'],
          'the file descriptor 77 of --report-fd cannot be written to: Bad file descriptor (os error 9)',
        ],
      ] as const) {
        const { code, stderr } = await run(native, ['measure', ...words]);
        assert.deepEqual([code, stderr], [2, `malloc-backend: ${message}\n`]);
      }
    });
  });
});
