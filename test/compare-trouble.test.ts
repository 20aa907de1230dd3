// What goes wrong while `malloc-backend compare` runs: nothing is left running, and the results are kept.

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { readResults } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { cannotPreload } from './support/shims.js';
import { afterAll, describe, test } from './support/suite.js';

const compare = (...words: string[]) => tools.command(['compare', ...words]);

/** Few runs of two subjects. */
const FEW = ['--runs', '2', '--warmup', '0', '--backends', 'snmalloc'];

/** A comparison that goes on while the test does something to it. */
function started(...words: string[]): {
  child: ChildProcess;
  end: Promise<{ code: number | null; stderr: string }>;
} {
  const child = tools.watched(
    spawn(process.execPath, [tools.cli, 'compare', ...words], {
      // A group of its own, as a shell gives each command.
      detached: true,
      env: environment({}),
      stdio: ['ignore', 'ignore', 'pipe'],
    }),
  );
  const said = text(child.stderr!);
  const end = once(child, 'close').then(async ([code]) => ({
    code: code as number | null,
    stderr: await said,
  }));
  return { child, end };
}

/** The processes whose command line has the word. */
function alive(word: string): string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return line.includes(word) ? [`${pid} ${line}`] : [];
      } catch {
        return [];
      }
    });
}

/** That nothing with the word in its command line runs any more. */
const gone = (word: string) => tools.until(`the end of ${word}`, () => alive(word).length === 0);

/** A program that says that it runs, in a file, and then waits for a file that nobody makes. */
function waiting(name: string, trap = ''): { program: string; ready: string; word: string } {
  const word = tools.scratch(name);
  const [ready, never] = [`${word}.ready`, `${word}.never`];
  // Its child is to be ended, too.
  const source = `${trap}\ntouch '${ready}'\ntail -f /dev/null '${word}.child' 2>/dev/null &\nwhile ! test -e '${never}'; do sleep 0.05; done`;
  const program = tools.file(`${name}.sh`, `#!/bin/sh\n${source}\n`);
  return { program, ready, word };
}

describe('compare is interrupted', { skip: cannotPreload }, () => {
  const moments: [name: string, words: (command: string) => string[]][] = [
    ['in a run', (command) => ['--', command]],
    ['in the setup', (command) => ['--setup', command, '--', 'true']],
    ['before a run', (command) => ['--prepare', command, '--', 'true']],
  ];
  for (const [name, words] of moments)
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      test(`${name}, by ${signal}: nothing runs on, and the cleanup does`, async () => {
        const id = `at-${name.replaceAll(' ', '-')}-${signal}`;
        const { program, ready, word } = waiting(id);
        const log = tools.scratch(`${id}.cleanup`);
        const { child, end } = started(...FEW, '--cleanup', `touch '${log}'`, ...words(program));
        await tools.until('the command', () => existsSync(ready));
        // Ctrl-C goes to the whole group.
        process.kill(signal === 'SIGINT' ? -child.pid! : child.pid!, signal);
        // npm passes it on, so that it comes twice.
        if (name === 'in a run') child.kill(signal);
        const { code, stderr } = await end;
        assert.equal(code, signal === 'SIGINT' ? 130 : 143, stderr);
        assert.match(stderr, /malloc-backend: interrupted/);
        assert.ok(existsSync(log));
        await gone(`${word}.sh`);
        await gone(`${word}.child`);
      });

  test('after some runs: they are saved, and the message says how to go on', async () => {
    const { program, ready, word } = waiting('resumed');
    const [file, go] = [tools.scratch('interrupted.json'), tools.scratch('resumed.never')];
    // The first runs end at once.
    const script = `test -e '${file}' && test $(grep -o '"round"' '${file}' | wc -l) -ge 3 && ! test -e '${go}' && exec '${program}'; exit 0`;
    const { child, end } = started(...FEW, '--seed', '5', '--export-json', file, '--', 'sh', '-c', script);
    await tools.until('the command', () => existsSync(ready));
    child.kill('SIGINT');
    const { code, stderr } = await end;
    assert.equal(code, 130);
    assert.ok(stderr.includes(`3 runs saved; go on with: malloc-backend compare --resume ${file}`), stderr);
    await gone(`${word}.sh`);
    const before = readResults(file);
    assert.equal(before.runs.length, 3);
    assert.ok(!before.finished);
    writeFileSync(go, '');
    const resumed = await compare('--resume', file);
    assert.equal(resumed.code, 0, resumed.stderr);
    const after = readResults(file);
    assert.deepEqual(after.runs.slice(0, 3), before.runs);
    assert.equal(after.runs.length, 4);
    assert.ok(after.finished);
  });

  test('twice, while the program heeds no signal: it ends at once, and the program with it', async () => {
    const { program, ready, word } = waiting('stubborn', "trap '' TERM INT");
    const { child, end } = started(...FEW, '--', program);
    await tools.until('the command', () => existsSync(ready));
    child.kill('SIGINT');
    // The first signal has arrived when the launcher passes it on; a second one that comes with it is one.
    const again = setInterval(() => child.kill('SIGINT'), 50);
    const { code } = await end;
    clearInterval(again);
    assert.equal(code, 130);
    await gone(`${word}.sh`);
  });

  test('by SIGKILL: the program ends with it, and --resume goes on', async () => {
    const { program, ready, word } = waiting('killed');
    const [file, go] = [tools.scratch('killed.json'), tools.scratch('killed.never')];
    const script = `test -e '${file}' && grep -q '"round"' '${file}' && ! test -e '${go}' && exec '${program}'; exit 0`;
    const { child, end } = started(...FEW, '--export-json', file, '--', 'sh', '-c', script);
    await tools.until('the command', () => existsSync(ready));
    child.kill('SIGKILL');
    await end;
    await gone(`${word}.sh`);
    await gone(`${word}.child`);
    assert.equal(readResults(file).runs.length, 1);
    writeFileSync(go, '');
    const { code, stderr } = await compare('--resume', file);
    assert.equal(code, 0, stderr);
    assert.equal(readResults(file).runs.length, 4);
  });
});

describe('a command that cannot be measured', { skip: cannotPreload }, () => {
  test('crashes: the error says how, and what ran before is kept', async () => {
    const file = tools.scratch('crash.json');
    const script = `test -e '${file}' && grep -q '"round"' '${file}' && kill -SEGV $$; exit 0`;
    const { code, stdout, stderr } = await compare(...FEW, '--export-json', file, '--', 'sh', '-c', script);
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(
      stderr,
      /malloc-backend: sh -c .* failed under [\w/]+: ended by SIGSEGV; with --ignore-failure/,
    );
    assert.match(stderr, /1 run saved; go on with: malloc-backend compare --resume /);
    assert.equal(readResults(file).runs.length, 1);
  });

  const fixed = tools.staticProgram('fixed', 'int main(void) { return 0; }');
  test(
    'is static: nothing runs',
    { skip: fixed === undefined && 'no static C library is installed' },
    async () => {
      const log = tools.scratch('static.log');
      const { code, stderr } = await compare(...FEW, '--setup', `touch ${log}`, '--', fixed!);
      assert.equal(code, 126);
      assert.match(stderr, /it is statically linked, so nothing can be preloaded into it/);
      assert.ok(!existsSync(log));
    },
  );

  test('is on a backend whose library the loader ignores: an error, and no row', async () => {
    const folder = tools.copyOfBinaries('ignored');
    rmSync(join(folder, 'libmalloc_backend_mimalloc.so'));
    execFileSync('cp', [
      tools.ignoredLibrary('libignored.so'),
      join(folder, 'libmalloc_backend_mimalloc.so'),
    ]);
    const file = tools.scratch('ignored.json');
    const words = [
      'compare',
      '--runs',
      '2',
      '--warmup',
      '0',
      '--backends',
      'mimalloc',
      '--export-json',
      file,
      '--',
      'true',
    ];
    const { code, stderr } = await tools.command(words, { env: { MALLOC_BACKEND_BINARY_DIR: folder } });
    assert.ok(code === 1 || code === 126, `${code}: ${stderr}`);
    assert.match(stderr, /mimalloc/);
    if (existsSync(file))
      assert.ok(readResults(file).runs.every(({ subject }) => subject === 'default/none'));
  });
});

describe('a file that cannot be written', { skip: cannotPreload }, () => {
  test('is found before the first run', async () => {
    const log = tools.scratch('unwritable.log');
    const cases: [file: string, message: RegExp][] = [
      ['/none/result', /cannot write \/none\/result: ENOENT/],
      [tools.scratch(''), /cannot write .*: it is a directory/],
    ];
    for (const option of ['--export-json', '--export-csv', '--export-markdown'])
      for (const [file, message] of cases) {
        const { code, stderr } = await compare(...FEW, option, file, '--', 'touch', log);
        assert.equal(code, 1, stderr);
        assert.match(stderr, message);
        assert.ok(!existsSync(log));
      }
  });

  const disk = tools.scratch('disk');
  mkdirSync(disk);
  const mounted =
    process.getuid?.() === 0 &&
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', disk]).status === 0;
  afterAll(() => mounted && spawnSync('umount', [disk]));
  const skip = !mounted && 'only root can mount a small file system';

  test('because the disk is full: found before the first run', { skip }, async () => {
    const full = join(disk, 'full');
    spawnSync('sh', ['-c', `head -c 300k /dev/zero > ${full}`]);
    const log = tools.scratch('full.log');
    const { code, stderr } = await compare(...FEW, '--export-json', join(disk, 'a.json'), '--', 'touch', log);
    rmSync(full);
    assert.equal(code, 1);
    assert.match(stderr, /cannot write .*a\.json: no space is left on the disk; free some, or choose a file/);
    assert.ok(!existsSync(log));
    assert.deepEqual(readdirSync(disk), []);
  });

  test(
    'because the disk becomes full: the comparison goes on, the old file is whole, and the end is an error',
    { skip },
    async () => {
      const [file, full] = [join(disk, 'b.json'), join(disk, 'full')];
      // After the first save nothing fits any more.
      const script = `test -e '${file}' && head -c 300k /dev/zero > '${full}'; exit 0`;
      const { code, stdout, stderr } = await compare(...FEW, '--export-json', file, '--', 'sh', '-c', script);
      assert.equal(code, 1, stderr);
      assert.match(
        stderr,
        /Warning: cannot write .*b\.json: no space is left on the disk.*The comparison goes on/,
      );
      assert.match(stderr, /malloc-backend: cannot write .*b\.json: no space is left/);
      assert.match(stdout, /^subject /, 'the table is shown all the same');
      assert.equal(readResults(file).runs.length, 1);
      assert.deepEqual(readdirSync(disk).sort(), ['b.json', 'full']);
      rmSync(full);
      const resumed = await compare('--resume', file);
      assert.equal(resumed.code, 1, 'the script fills the disk again');
      rmSync(full);
    },
  );

  test('at the end: the others are written, and the table is shown', { skip }, async () => {
    const [file, full] = [join(disk, 'c.csv'), join(disk, 'full2')];
    const markdown = tools.scratch('kept.md');
    const json = tools.scratch('kept.json');
    const words = ['--cleanup', `head -c 300k /dev/zero > '${full}'; true`, '--export-csv', file];
    const { code, stdout, stderr } = await compare(
      ...FEW,
      ...words,
      '--export-markdown',
      markdown,
      '--export-json',
      json,
      '--',
      'true',
    );
    assert.equal(code, 1);
    assert.match(stderr, /cannot write .*c\.csv: no space is left/);
    assert.match(stdout, /^subject /);
    assert.match(readFileSync(markdown, 'utf8'), /^\| subject/);
    assert.equal(readResults(json).runs.length, 4);
  });

  test(
    'because it is a device that is full',
    { skip: !existsSync('/dev/full') && 'there is no /dev/full' },
    async () => {
      const json = tools.scratch('device.json');
      const { code, stdout, stderr } = await compare(
        ...FEW,
        '--export-json',
        json,
        '--export-csv',
        '/dev/full',
        '--',
        'true',
      );
      assert.equal(code, 1);
      assert.match(stderr, /cannot write \/dev\/full: no space is left/);
      assert.match(stdout, /^subject /);
      assert.equal(readResults(json).runs.length, 4);
    },
  );
});
