// The configuration file: run, env, register and spawn take the backend and its options from it; what is wrong in it is named
// with its line.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { run as runProgram, spawn } from '../index.js';
import { type Schema, mismatch } from '../src/schema.js';
import schema = require('../src/process/config.schema.json');
import * as tools from './fixtures-ts/tools.js';
import { run, succeed } from './support/run.js';
import { cannotPreload, root, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

const { command, rejects } = tools;
const LOOK = ['sh', '-c', 'echo "$LD_PRELOAD|$MALLOC_BACKEND_JEMALLOC|$MALLOC_BACKEND_CHILDREN"'];
const MEASURED = {
  at: '2026-11-30T02:00:00Z',
  tool: 'malloc-backend 0.1.0',
  command: ['node', 'server.js'],
  machine: { cpu: 'EPYC', cores: 2 },
  versions: { jemalloc: '5.3.1' },
  baseline: 'default/none',
  runs: 20,
  gain: { peakRss: { ratio: 0.4, low: 0.38, high: 0.42 } },
  options: { runs: 20 },
};
const FULL = {
  $schema: './node_modules/malloc-backend/dist/src/process/config.schema.json',
  backend: 'jemalloc',
  preset: 'low-rss',
  set: { narenas: 3, dirty_decay_ms: '77' },
  children: 'inherit',
  measured: MEASURED,
};

let count = 0;
const config = (content: unknown): string =>
  tools.file(
    `config-${count++}.json`,
    typeof content === 'string' ? content : JSON.stringify(content, null, 2),
  );
const full = config(FULL);

async function printed(words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await command(words);
  assert.equal(code, 0, stderr);
  return stdout;
}

describe('the configuration file', { skip: cannotPreload }, () => {
  test('is what run starts the program on', async () => {
    const stdout = await printed(['run', '--config', full, '--', ...LOOK]);
    const [library, options] = stdout.trim().split('|');
    assert.equal(library, shim('jemalloc'));
    assert.match(options ?? '', /narenas:3/);
    assert.match(options ?? '', /dirty_decay_ms:77/);
  });

  test('gives way to what the command line says', async () => {
    const words = ['run', '--config', full, '--preset', 'none', '--set', 'narenas=5', '--children', 'none'];
    const stdout = await printed([...words, '--', 'cat', '/proc/self/environ']);
    // The library has taken its variables out of the environment for children of its own; the options went to jemalloc.
    assert.doesNotMatch(stdout, /narenas:3/);
  });

  test('may stand before a program without dashes, whose own options need them', async () => {
    const stdout = await printed(['run', '--config', full, 'printenv', 'LD_PRELOAD']);
    assert.equal(stdout, `${shim('jemalloc')}\n`);
    const { code, stderr } = await command(['run', `--config=${full}`, 'node', '--inspekt', 'x.js']);
    assert.equal(code, 2);
    assert.match(stderr, /unknown option --inspekt; the program comes after --/);
  });

  test('is what env prints', async () => {
    const stdout = await printed(['env', '--config', full, '--format', 'json']);
    const { LD_PRELOAD, MALLOC_BACKEND_JEMALLOC } = JSON.parse(stdout) as Record<string, string>;
    assert.equal(LD_PRELOAD, shim('jemalloc'));
    assert.match(MALLOC_BACKEND_JEMALLOC ?? '', /narenas:3/);
  });

  test('is what register switches to', async () => {
    const show = 'console.log(process.env.LD_PRELOAD, process.env.MALLOC_BACKEND_JEMALLOC)';
    const words = [`--import=${tools.register}`, '-e', show];
    const { stdout } = await succeed(process.execPath, words, { env: { MALLOC_BACKEND_CONFIG: full } });
    assert.match(stdout, new RegExp(`^${shim('jemalloc')} .*narenas:3`));
    const twice = { MALLOC_BACKEND_CONFIG: full, MALLOC_BACKEND: 'mimalloc' };
    const { code, stderr } = await run(process.execPath, words, { env: twice });
    assert.notEqual(code, 0);
    assert.match(stderr, /the backend is named twice/);
  });

  test('is what spawn and run start the child on', async () => {
    const options = { config: relative(process.cwd(), full), stdio: 'pipe' } as const;
    const { proof, stdout } = await runProgram('sh', LOOK.slice(1), options);
    assert.equal(proof.backend, 'jemalloc');
    assert.match(stdout, /narenas:3/);
    const over = await runProgram('sh', LOOK.slice(1), { ...options, preset: 'none', set: { narenas: 6 } });
    assert.match(over.stdout, /\|;dirty_decay_ms:77,narenas:6\|/);
    const both = { backend: 'mimalloc', config: full } as unknown as { config: string };
    assert.throws(() => spawn('true', [], both), { code: 'ERR_INVALID_ARGUMENT', message: /named twice/ });
    await rejects(runProgram('true', [], { config: '' }), 'ERR_INVALID_ARGUMENT', /config must be a file/);
  });

  test('that says nothing but the backend gives it the defaults', async () => {
    const snmalloc = config({ backend: 'snmalloc' });
    const { proof } = await runProgram('true', [], { config: snmalloc });
    assert.equal(proof.backend, 'snmalloc');
  });

  test('has no backend beside it', async () => {
    for (const words of [
      ['run', 'mimalloc', '--config', full, '--', 'true'],
      ['env', 'mimalloc', '--config', full],
    ]) {
      const { code, stderr } = await command(words);
      assert.equal(code, 2, stderr);
      assert.match(stderr, /the backend is named twice: mimalloc, and the one in .*; leave one of them out/);
    }
    const { code, stderr } = await command(['run', '--config', full]);
    assert.equal(code, 2);
    assert.match(stderr, /the program is missing; write: malloc-backend run --config .* -- node server\.js/);
  });

  test('that is wrong is an error that names the line', async () => {
    const wrong: [content: string, line: number, why: RegExp][] = [
      ['{\n  "backend": "jemalloc",\n  "presett": "none"\n}', 3, /unknown field `presett`, expected one of/],
      ['{\n  "backend": 5\n}', 2, /invalid type: integer `5`, expected a string/],
      ['{\n  "backend":\n    "jemaloc"\n}', 2, /jemaloc.*Did you mean jemalloc\?/],
      ['{\n  "preset": "none"\n}', 3, /missing field `backend`/],
      ['{\n\n  "preset": "lowrss",\n  "backend": "jemalloc"\n}', 3, /unknown preset "lowrss"/],
      ['{ "preset": "none",\n  "backend": "rust"\n}', 2, /rust is not there: Rust's global allocator/],
      ['{\n  "backend": "snmalloc",\n  "preset": "low-rss"\n}', 3, /the preset low-rss would do nothing/],
      [
        '{\n  "backend": "jemalloc",\n  "set": {\n    "narena": 1\n  }\n}',
        4,
        /cannot set the option "narena"/,
      ],
      [
        '{\n  "backend": "jemalloc",\n  "set": {\n    "narenas": [1]\n  }\n}',
        4,
        /must be a string, a number or a/,
      ],
      ['{\n  "backend": "jemalloc",\n  "children": true\n}', 3, /invalid type: boolean `true`/],
      ['{\n  "backend": "jemalloc",\n  "measured": {\n    "at": 1\n  }\n}', 4, /invalid type: integer `1`/],
      ['{\n  "backend": "jemalloc",\n  "preset": null\n}', 3, /invalid type: null, expected a string/],
      ['{\n  "backend": "jemalloc"\n', 3, /EOF while parsing/],
      ['', 1, /EOF while parsing/],
    ];
    for (const [content, line, why] of wrong) {
      const file = config(content);
      const { code, stderr } = await command(['run', '--config', file, '--', 'true']);
      assert.equal(code, 2, stderr);
      assert.ok(stderr.includes(`${file}:${line}: `), `${content}: ${stderr}`);
      assert.match(stderr, why);
      assert.throws(() => spawn('true', [], { config: file }), { code: 'ERR_CONFIG_INVALID', message: why });
    }
    const { code, stderr } = await command(['env', '--config', '/not/there.json']);
    assert.equal(code, 2);
    assert.match(stderr, /cannot read the configuration \/not\/there\.json: No such file/);
  });

  test('that names a backend which this installation does not have names the line', async () => {
    const folder = tools.scratch('no-libraries');
    const file = config({ backend: 'mimalloc' });
    const { code, stderr } = await run(tools.native, ['run', '--config', file, '--', 'true'], {
      env: { MALLOC_BACKEND_BINARY_DIR: folder },
    });
    assert.notEqual(code, 0);
    assert.match(stderr, /:2: mimalloc is not there: the preloadable library .* does not exist/);
  });

  test('has a JSON Schema that allows and refuses the same', async () => {
    assert.equal(mismatch(FULL, schema as Schema), undefined);
    const { gain } = MEASURED;
    const measured = (part: object): object => ({ ...FULL, measured: { ...MEASURED, ...part } });
    for (const [value, why] of [
      [{ ...FULL, backend: 'rust' }, /backend/],
      [{ ...FULL, presett: 'none' }, /presett/],
      [{ preset: 'none' }, /backend/],
      [{ ...FULL, set: { narenas: [1] } }, /narenas/],
      [measured({ gain: { ...gain, wall: { ratio: 1 } } }), /gain/],
      [measured({ gain: { wall: { ratio: 0, low: 0.1, high: 1 } } }), /ratio/],
      [measured({ runs: 0 }), /runs/],
      [measured({ command: [] }), /command/],
      [measured({ machine: { cpu: [] } }), /cpu/],
      ...(['$schema', 'preset', 'set', 'children', 'measured'] as const).map(
        (key) => [{ ...FULL, [key]: null }, new RegExp(key.replace('$', '\\$'))] as const,
      ),
    ] as const) {
      assert.match(mismatch(value, schema as Schema) ?? assert.fail(JSON.stringify(value)), why);
      const { code, stderr } = await command(['run', '--config', config(value), '--', 'true']);
      assert.equal(code, 2, `${JSON.stringify(value)}: ${stderr}`);
    }
    const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: object };
    assert.ok(Object.hasOwn(exports, './config.schema.json'));
  });
});
