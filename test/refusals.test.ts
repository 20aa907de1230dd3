// What cannot be switched: its exit status, its reason, and that nothing ran. And what looks so and can.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { type MallocBackendErrorCode, spawn } from '../index.js';
import { linuxBinding } from '../src/native/loader.js';
import * as tools from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { run } from './support/run.js';
import { cannotPreload, machine, notGlibc } from './support/shims.js';
import { afterAll, describe, test } from './support/suite.js';

const { command, file, scratch } = tools;
const env = environment();

/** What a program that ran would have left. */
const trace = scratch('it-ran');
const TRACE = `#include <fcntl.h>\nint main(void) { return open("${trace}", O_CREAT | O_RDWR, 0666) < 0; }`;
const nothingRan = () => assert.ok(!existsSync(trace), 'the program ran');

/** Copies of `grep`, which can say whether it is switched. */
const grep = tools.which('grep') ?? assert.fail('no grep');
const MAPS = ['-o', 'libmalloc_backend_[a-z]*', '/proc/self/maps'];
function copy(name: string, mode = 0o755): string {
  copyFileSync(grep, scratch(name));
  chmodSync(scratch(name), mode);
  return scratch(name);
}

/** That `run` ends with the status and the reason, and that `spawn` throws the same. */
async function refuses(
  program: string,
  code: MallocBackendErrorCode,
  status: number,
  reason: RegExp,
  { backend = 'mimalloc', wrapper = [] as readonly string[] } = {},
) {
  for (const entry of Object.values(tools.entries)) {
    const words = [...wrapper, ...entry, 'run', backend, '--', program];
    const outcome = await run(words[0] ?? '', words.slice(1));
    assert.deepEqual([outcome.code, outcome.stdout], [status, ''], outcome.stderr);
    assert.match(outcome.stderr, reason);
    assert.match(outcome.stderr, /^malloc-backend: .*\n$/, 'one line');
    nothingRan();
  }
  if (wrapper.length > 0) return;
  tools.refuses(() => spawn(program, { backend: backend as 'mimalloc', env }), code, reason);
  nothingRan();
}

/** How `default` says it: what cannot be preloaded into proves nothing either. */
const unproven = (reason: RegExp) =>
  new RegExp(`cannot prove that .* runs on libc's malloc: .*${reason.source}.*without malloc-backend`);

/** That it runs, switched. */
async function accepts(program: string, args: string[] = MAPS, wrapper: readonly string[] = []) {
  for (const entry of Object.values(tools.entries)) {
    const words = [...wrapper, ...entry, 'run', 'mimalloc', '--', program, ...args];
    const { stdout, stderr, code } = await run(words[0] ?? '', words.slice(1));
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /libmalloc_backend_mimalloc/);
  }
}

describe('the backend', { skip: cannotPreload }, () => {
  test('unknown', async () => {
    const all = /; it must be one of: default, jemalloc, mimalloc, snmalloc, rust$/m;
    for (const [backend, rest] of [
      ['tcmalloc', all],
      ['Jemalloc', /"Jemalloc"\. Did you mean jemalloc\?$/m],
      ['toString', all],
    ] as const) {
      const { code, stdout, stderr } = await command(['run', backend, '--', 'touch', trace]);
      assert.deepEqual([code, stdout], [2, '']);
      assert.ok(stderr.includes(`"${backend}"`), stderr);
      assert.match(stderr, rest);
    }
    nothingRan();
  });

  test('rust', () => refuses('true', 'ERR_BACKEND_UNAVAILABLE', 126, /uses malloc/, { backend: 'rust' }));

  test('a library that is missing, or lies where it cannot be named', async () => {
    const missing = tools.copyOfBinaries('missing', ['libmalloc_backend_mimalloc.so']);
    for (const [folder, reason] of [
      [missing, /libmalloc_backend_mimalloc\.so does not exist/],
      [tools.copyOfBinaries('with space'), /LD_PRELOAD cannot name/],
    ] as const) {
      const options = { env: { MALLOC_BACKEND_BINARY_DIR: folder } };
      const { code, stdout, stderr } = await command(['run', 'mimalloc', 'touch', trace], options);
      assert.deepEqual([code, stdout], [126, '']);
      assert.match(stderr, reason);
      nothingRan();
    }
  });

  test('a library that the loader would pass over', { skip: tools.cannotBeNobody }, async () => {
    const folder = tools.copyOfBinaries('ignored');
    const library = (name: string) => `${folder}/libmalloc_backend_${name}.so`;
    const whole = readFileSync(library('jemalloc'));
    const other = Buffer.from(whole);
    other.writeUInt16LE(other.readUInt16LE(18) === 0xb7 ? 0x3e : 0xb7, 18);
    const refused = async (backend: string, reason: RegExp, wrapper: readonly string[] = []) => {
      for (const entry of [[process.execPath, tools.cli], [`${folder}/malloc-backend`]]) {
        const words = [...wrapper, ...entry, 'run', backend, 'touch', trace];
        const options = { env: { MALLOC_BACKEND_BINARY_DIR: folder } };
        const { code, stdout, stderr } = await run(words[0] ?? '', words.slice(1), options);
        assert.deepEqual([code, stdout], [126, ''], stderr);
        assert.match(stderr, reason);
        assert.match(stderr, /MALLOC_BACKEND_BINARY_DIR names that folder\n$/);
        nothingRan();
      }
    };
    chmodSync(library('mimalloc'), 0o600);
    await refused('mimalloc', /cannot be read: Permission denied/, tools.asNobody);
    for (const [content, reason] of [
      ['', /is not a library/],
      [whole.subarray(0, -1), /is truncated/],
      [other, /is built for \w+ \(64 bits\)/],
    ] as const) {
      writeFileSync(library('jemalloc'), content);
      await refused('jemalloc', reason);
    }
    rmSync(library('default'));
    mkdirSync(library('default'));
    await refused('default', /is not a file/);
  });

  const noMounts =
    spawnSync('unshare', ['-m', 'true']).status !== 0 && 'unshare(1) is not there or not allowed';
  test('a library where nothing is executed', { skip: noMounts }, async () => {
    const copy = tools.copyOfBinaries('copy');
    const place = scratch('noexec');
    mkdirSync(place);
    const script = `mount -t tmpfs -o noexec none "$0" && cp "$1"/* "$0" && shift && exec "$@"`;
    for (const entry of Object.values(tools.entries)) {
      const args = ['-m', 'sh', '-c', script, place, copy, ...entry, 'run', 'mimalloc', 'touch', trace];
      const options = { env: { MALLOC_BACKEND_BINARY_DIR: place } };
      // The command in JavaScript needs the addon, which cannot be loaded from there either.
      const { code, stderr } = await run('unshare', args, options);
      assert.equal(code, 126, stderr);
      nothingRan();
    }
  });

  test('snmalloc under a limit of the address space; others run there', async () => {
    const limited = (backend: string) =>
      run('sh', [
        '-c',
        `ulimit -v 100000000; exec "$0" "$@"`,
        process.execPath,
        tools.cli,
        'run',
        backend,
        grep,
        ...MAPS,
      ]);
    const { code, stdout, stderr } = await limited('snmalloc');
    assert.deepEqual([code, stdout], [126, ''], stderr);
    assert.match(stderr, /256 GiB of address space.*102400000000 bytes/);
    for (const backend of ['jemalloc', 'mimalloc', 'default']) assert.equal((await limited(backend)).code, 0);
  });

  test('snmalloc for buffers and for Python under a limit of the address space', async () => {
    const limit = ['sh', '-c', 'ulimit -d 100000000; exec "$@"', 'sh'];
    const said = await tools.evaluate<Record<string, { code: string }>>(
      `show({
        buffers: attempt(() => m.Allocator.create('snmalloc')),
        domains: attempt(() => m.spawnPython([], { allocatorBackend: 'snmalloc' })),
        whole: attempt(() => m.spawnPython([], { malloc: 'snmalloc' })),
        other: attempt(() => m.Allocator.create('jemalloc').backend),
      })`,
      { wrapper: limit },
    );
    const codes = Object.values(said).map(({ code }) => code);
    assert.deepEqual(codes, [
      'ERR_BACKEND_UNAVAILABLE',
      'ERR_BACKEND_UNAVAILABLE',
      'ERR_CANNOT_SWITCH',
      undefined,
    ]);
  });

  test('snmalloc under a limit of the data; it runs under one that is large enough', async () => {
    const limited = (kilobytes: number) =>
      run('sh', [
        '-c',
        `ulimit -d ${kilobytes}; exec "$0" "$@"`,
        process.execPath,
        tools.cli,
        'run',
        'snmalloc',
        grep,
        ...MAPS,
      ]);
    const { code, stdout, stderr } = await limited(100_000_000);
    assert.deepEqual([code, stdout], [126, ''], stderr);
    assert.match(stderr, /256 GiB of address space as data.*102400000000 bytes \(ulimit -d\)/);
    assert.match((await limited(2 ** 30)).stdout, /libmalloc_backend_snmalloc/);
  });
});

describe('the program', { skip: cannotPreload }, () => {
  test('that is missing', async () => {
    await refuses('no-such-program', 'ERR_PROGRAM_NOT_FOUND', 127, /"no-such-program", is not found in PATH/);
    await refuses('/no/such/program', 'ERR_PROGRAM_NOT_FOUND', 127, /\/no\/such\/program, does not exist/);
    await refuses(`${grep}/x`, 'ERR_PROGRAM_NOT_FOUND', 127, /does not exist/);
  });

  test('that may not be executed', async () => {
    await refuses(file('plain', readFileSync(grep), 0o644), 'ERR_PROGRAM_NOT_EXECUTABLE', 126, /chmod \+x/);
    await refuses(dirname(trace), 'ERR_PROGRAM_NOT_EXECUTABLE', 126, /is not a file/);
    for (const content of ['', 'touch x\n', '#!', '#! \n', '\x7fELF', '\x7fELF\x02\x01\x01'])
      await refuses(
        file('nothing', content),
        'ERR_PROGRAM_NOT_EXECUTABLE',
        126,
        /neither an ELF program nor a script/,
      );
  });

  test('of that name in PATH that may not be executed; one that may comes first', async () => {
    mkdirSync(scratch('a'), { recursive: true });
    mkdirSync(scratch('b'), { recursive: true });
    file('a/tool', '#!/bin/sh\n', 0o644);
    const options = { env: { PATH: `${scratch('a')}:${scratch('b')}:${env['PATH']}` } };
    const refused = await command(['run', 'mimalloc', 'tool'], options);
    assert.equal(refused.code, 126);
    assert.match(refused.stderr, /a\/tool, is not executable/);
    file('b/tool', '#!/bin/sh\necho second\n');
    assert.equal((await command(['run', 'mimalloc', 'tool'], options)).stdout, 'second\n');
  });

  test('that is static', async (t) => {
    const program = tools.staticProgram('static', TRACE);
    if (program === undefined) return t.skip('no static C library');
    await refuses(program, 'ERR_CANNOT_SWITCH', 126, /statically linked/);
    await refuses(program, 'ERR_CANNOT_SWITCH', 126, unproven(/statically linked/), { backend: 'default' });
  });

  test('for another machine', async () => {
    const other = Buffer.from(readFileSync(tools.cc('traces', TRACE)));
    const own = other.readUInt16LE(18);
    for (const [machine, name] of [
      [0x3e, 'x86_64'],
      [0xb7, 'aarch64'],
      [0xf3, 'riscv'],
      [0x16, 's390'],
    ] as const) {
      other.writeUInt16LE(machine, 18);
      if (machine === own) continue;
      const reason = new RegExp(`built for ${name} \\(64 bits\\)`);
      await refuses(file('other', other), 'ERR_CANNOT_SWITCH', 126, reason);
      const backend = 'default';
      await refuses(file('other', other), 'ERR_CANNOT_SWITCH', 126, unproven(reason), { backend });
    }
    const narrow = Buffer.alloc(52);
    narrow.write('\x7fELF\x01\x01\x01', 'latin1');
    [2, 3, 1].forEach((value, field) => narrow.writeUInt16LE(value, 16 + 2 * field)); // EXEC, EM_386, EV_CURRENT
    narrow.writeUInt16LE(52, 40);
    await refuses(file('narrow', narrow), 'ERR_CANNOT_SWITCH', 126, /built for i386 \(32 bits\)/);
    narrow.writeUInt16LE(own, 18);
    const reason = new RegExp(`built for ${machine} \\(32 bits\\)`);
    await refuses(file('narrow', narrow), 'ERR_CANNOT_SWITCH', 126, reason);
  });

  test('for another C library, or another loader', { skip: notGlibc }, async () => {
    const loader = linuxBinding().inspectProgram(process.execPath).interpreter ?? assert.fail();
    const link = (name: string, interpreter: string) =>
      tools.cc(name, TRACE, [`-Wl,--dynamic-linker=${interpreter}`]);
    const missing = link('missing-loader', scratch('no-loader'));
    await refuses(missing, 'ERR_CANNOT_SWITCH', 126, /no-loader, does not exist/);
    copyFileSync(loader, scratch('ld-musl-x86_64.so.1'));
    const musl = link('musl', scratch('ld-musl-x86_64.so.1'));
    const reason = /uses the C library of .*ld-musl/;
    await refuses(musl, 'ERR_CANNOT_SWITCH', 126, reason);
    await refuses(musl, 'ERR_CANNOT_SWITCH', 126, unproven(reason), { backend: 'default' });
    // The same loader in another place is asked whether it takes the library.
    copyFileSync(loader, scratch('ld-copy.so'));
    const moved = link('moved', scratch('ld-copy.so'));
    assert.equal((await command(['run', 'mimalloc', moved])).code, 0);
    execFileSync('rm', [trace]);
    const deaf = file(
      'ld-deaf.so',
      '#!/bin/sh\necho "ERROR: ld.so: x cannot be preloaded (too old): ignored." >&2\n',
    );
    await refuses(link('deaf', deaf), 'ERR_CANNOT_SWITCH', 126, /refuses the library: too old/);
  });

  test('with a malloc of its own', { skip: notGlibc }, async () => {
    const source = `#include <stddef.h>\nvoid *malloc(size_t n) { return 0; }\n${TRACE}`;
    const exported = tools.cc('exported', source, ['-rdynamic']);
    await refuses(exported, 'ERR_CANNOT_SWITCH', 126, /exports its own malloc/);
    // Under `default` the library in it says so.
    const { code, stderr } = await command(['run', 'default', exported]);
    assert.equal(code, 126);
    assert.match(stderr, /default was not applied: this program's malloc is that of .*exported/);
    nothingRan();
  });
});

describe('more rights than the caller', { skip: cannotPreload }, () => {
  const notRoot = process.getuid?.() === 0 ? false : 'only root can give a file away';

  test('setuid, for root', { skip: notRoot }, async () => {
    const program = copy('setuid');
    chownSync(program, 65534, 65534);
    chmodSync(program, 0o4755);
    await refuses(program, 'ERR_CANNOT_SWITCH', 126, /another user \(setuid\)/);
    const backend = 'default';
    await refuses(program, 'ERR_CANNOT_SWITCH', 126, unproven(/another user \(setuid\)/), { backend });
    chownSync(program, 0, 0);
    chmodSync(program, 0o4755);
    await accepts(program);
  });

  const noSetpriv = notRoot || (tools.which('setpriv') === undefined && 'setpriv is not installed');
  test('a caller whose effective ids are not the real ones', { skip: noSetpriv }, async () => {
    const program = copy('plain');
    for (const ids of [['--rgid=65534', '--keep-groups'], ['--ruid=65534']]) {
      const wrapper = ['setpriv', ...ids];
      await refuses(program, 'ERR_CANNOT_SWITCH', 126, /effective ids/, { wrapper });
      const backend = 'default';
      await refuses(program, 'ERR_CANNOT_SWITCH', 126, unproven(/effective ids/), { wrapper, backend });
    }
  });

  test('a child of another user and group', { skip: notRoot }, async () => {
    const program = copy('of-nobody');
    chownSync(program, 65534, 65534);
    chmodSync(program, 0o6755);
    const options = { backend: 'mimalloc', env, stdio: 'ignore' } as const;
    tools.refuses(() => spawn(program, options), 'ERR_CANNOT_SWITCH', /setuid/);
    tools.refuses(() => spawn(program, { ...options, uid: 65534 }), 'ERR_CANNOT_SWITCH', /setgid/);
    const child = spawn(program, ['x', '/dev/null'], { ...options, uid: 65534, gid: 65534 });
    assert.equal((await child.applied).pid, child.pid);
  });

  test('setuid, for others', { skip: tools.cannotBeNobody }, async () => {
    const program = copy('setuid-root', 0o4755);
    const wrapper = tools.asNobody;
    await refuses(program, 'ERR_CANNOT_SWITCH', 126, /another user \(setuid\)/, { wrapper });
    chownSync(program, 65534, 65534);
    chmodSync(program, 0o4755);
    await accepts(program, MAPS, wrapper);
  });

  test('a system’s own setuid program', async (t) => {
    const su = tools.which('su');
    const skip = process.getuid?.() === 0 ? tools.cannotBeNobody : false;
    if (su === undefined || skip !== false) return t.skip(skip || 'no su');
    const wrapper = process.getuid?.() === 0 ? tools.asNobody : [];
    await refuses(su, 'ERR_CANNOT_SWITCH', 126, /setuid/, { wrapper });
  });

  test('setgid', { skip: notRoot }, async () => {
    const program = copy('setgid');
    chownSync(program, 0, 65534);
    chmodSync(program, 0o2755);
    await refuses(program, 'ERR_CANNOT_SWITCH', 126, /another group \(setgid\)/);
    chmodSync(program, 0o2745); // without the group's execute bit it means something else
    await accepts(program);
    chownSync(program, 0, 0);
    chmodSync(program, 0o2755);
    await accepts(program);
  });

  const setcap = tools.which('setcap');
  const noCapabilities = tools.cannotBeNobody || (setcap === undefined && 'setcap is not installed');
  test('file capabilities', { skip: noCapabilities }, async (t) => {
    const program = copy('capable');
    try {
      execFileSync(setcap ?? '', ['cap_net_raw+ep', program], { stdio: 'pipe' });
    } catch (error) {
      return t.skip(`the file system takes no capabilities: ${String(error)}`);
    }
    const wrapper = tools.asNobody;
    await refuses(program, 'ERR_CANNOT_SWITCH', 126, /file capabilities/, { wrapper });
    await accepts(program); // root has them anyway
  });

  test('a program that may not be read, or not be reached', { skip: tools.cannotBeNobody }, async () => {
    const wrapper = tools.asNobody;
    await refuses(copy('unreadable', 0o711), 'ERR_CANNOT_SWITCH', 126, /no permission to read it/, {
      wrapper,
    });
    mkdirSync(scratch('closed'), { mode: 0o700 });
    const behind = copy('closed/grep');
    await refuses(behind, 'ERR_PROGRAM_NOT_EXECUTABLE', 126, /no permission to search/, { wrapper });
  });
});

describe('a script', { skip: cannotPreload }, () => {
  const node = dirname(process.execPath);
  const options = { env: { PATH: `${node}:${env['PATH']}` } };
  const tell =
    "console.log(/libmalloc_backend_[a-z]+/.exec(require('fs').readFileSync('/proc/self/maps', 'utf8'))?.[0], process.execArgv, process.argv.slice(1))";
  const script = (first: string, rest = tell) => file('script', `${first}\n${rest}\n`);

  test('is followed to its interpreter', async () => {
    const cases: [string, string[]][] = [
      [`#!${process.execPath}`, []],
      [`#! \t${process.execPath}\t `, []],
      [`#!${process.execPath} --no-warnings`, ['--no-warnings']],
      ['#!/usr/bin/env node', []],
      ['#!/usr/bin/env -S node', []],
      ['#!/usr/bin/env -S node --no-warnings  --no-deprecation ', ['--no-warnings', '--no-deprecation']],
      ['#!/usr/bin/env --split-string=node --no-warnings', ['--no-warnings']],
      ['#!/usr/bin/env -S node --disable-warning=X', ['--disable-warning=X']],
    ];
    for (const [first, execArgv] of cases) {
      const path = script(first);
      const { code, stdout, stderr } = await command(['run', 'jemalloc', path, '-x', '--help'], options);
      const said = `libmalloc_backend_jemalloc ${JSON.stringify(execArgv)} ${JSON.stringify([path, '-x', '--help'])}`;
      assert.deepEqual([code, stderr], [0, ''], first);
      assert.equal(
        stdout
          .replaceAll("'", '"')
          .replace(/\s*([[\],])\s*/g, '$1')
          .trim(),
        said.replace(/\s*([[\],])\s*/g, '$1'),
      );
    }
  });

  test('whose interpreter is missing, or is no program', async () => {
    await refuses(
      script('#!/no/interpreter'),
      'ERR_PROGRAM_NOT_FOUND',
      127,
      /interpreter of .*script, \/no\/interpreter, does not exist/,
    );
    await refuses(
      script('#!/usr/bin/env no-such-program'),
      'ERR_PROGRAM_NOT_FOUND',
      127,
      /"no-such-program", is not found/,
    );
    await refuses(
      script(`#!${file('text', 'text', 0o644)}`),
      'ERR_PROGRAM_NOT_EXECUTABLE',
      126,
      /is not executable/,
    );
    await refuses(script('#!/'), 'ERR_PROGRAM_NOT_EXECUTABLE', 126, /is not a file/);
  });

  test('behind as many others as the kernel allows', async () => {
    let last = '/bin/sh';
    for (let n = 1; n < 8; n++) {
      last = file(`chain-${n}`, `#!${last}\necho ran\n`);
      const [direct, switched] = [
        await run('sh', ['-c', '"$0"', last]),
        await command(['run', 'mimalloc', last]),
      ];
      // Shells differ in the status that they have for one too many.
      const told = ({ code, stdout }: typeof direct) => [code === 0, stdout];
      assert.deepEqual(told(switched), told(direct), `${n} scripts`);
    }
  });

  test('whose interpreter is a script that goes through env', async () => {
    const reader = file('reader', `#!/usr/bin/env node\n${tell}\n`);
    const path = file('read', `#!${reader}\n`);
    // With the children left alone only the one program that is launched is switched, and that must not be env.
    for (const children of ['inherit', 'none']) {
      const { stdout } = await command(['run', 'mimalloc', '--children', children, path, 'x'], options);
      const said = `libmalloc_backend_mimalloc [] [ '${reader}', '${path}', 'x' ]`;
      assert.equal(stdout.replace(/\s+/g, ' ').trim(), said);
    }
  });

  test('whose interpreters go round', async () => {
    await refuses(
      script(`#!${scratch('script')}`),
      'ERR_PROGRAM_NOT_EXECUTABLE',
      126,
      /too many scripts, each the interpreter/,
    );
    file('one', `#!${scratch('two')}\n`);
    await refuses(
      file('two', `#!${scratch('one')}\n`),
      'ERR_PROGRAM_NOT_EXECUTABLE',
      126,
      /too many scripts, each the interpreter/,
    );
  });

  test('that wants more of env than is understood', async () => {
    const lines = [
      '',
      ' -i node',
      ' -S',
      ' -S -i node',
      ' -S A=b node',
      ' A=b',
      ' -S node "a b"',
      ' -S node $X',
      ' -u X',
      ' --',
      ' -S node a\\tb',
    ];
    for (const line of lines)
      await refuses(
        script(`#!/usr/bin/env${line}`),
        'ERR_CANNOT_SWITCH',
        126,
        /cannot follow the first line/,
      );
  });

  test('is refused with its interpreter', async (t) => {
    const program = tools.staticProgram('static-interpreter', TRACE);
    if (program === undefined) return t.skip('no static C library');
    await refuses(
      script(`#!${program}`),
      'ERR_CANNOT_SWITCH',
      126,
      /static-interpreter on mimalloc: it is statically/,
    );
    file('link', `#!${program}\n`);
    await refuses(script(`#!/usr/bin/env ${scratch('link')}`), 'ERR_CANNOT_SWITCH', 126, /statically/);
  });

  test('in the working directory, by a relative first line', async () => {
    file('interpreter', `#!/bin/sh\necho "$@"\n`);
    const path = script('#!./interpreter -x');
    const { stdout } = await command(['run', 'mimalloc', `./${basename(path)}`, 'y'], { cwd: dirname(path) });
    assert.equal(stdout, '-x ./script y\n');
  });
});

afterAll(nothingRan);
