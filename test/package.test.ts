// The packages as npm packs and installs them, on a machine without Rust.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join, posix } from 'node:path';
import { text } from 'node:stream/consumers';
import { parse } from 'yaml';
import * as tools from './fixtures-ts/tools.js';
import { noPython, python } from './support/pythons.js';
import { type Options, run, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, notGlibc, platform, root } from './support/shims.js';
import { beforeAll, describe, test } from './support/suite.js';

const npm = tools.which('npm');
const noCargo = tools.which('cargo') === undefined && 'cargo is not installed';
const skip = cannotPreload || (npm === undefined && 'npm is not installed');
const name = `@malloc-backend/${platform}`;
const checkout = tools.scratch('checkout');
const consumer = tools.scratch('consumer');

/** Nothing but Node, npm and a few commands: no compiler. */
const bin = tools.scratch('bin');
const env = {
  PATH: bin,
  npm_config_cache: tools.scratch('cache'),
  npm_config_update_notifier: 'false',
  npm_config_audit: 'false',
  npm_config_fund: 'false',
};
const at = (more: Options = {}): Options => ({ cwd: consumer, env, ...more });
const node = (args: string[], more: Options = {}) =>
  succeed(process.execPath, args, at({ ...more, env: { ...env, ...more.env } }));
const command = (args: string[], more: Options = {}) =>
  run(join(consumer, 'node_modules', '.bin', 'malloc-backend'), args, at(more));

type Conditions = string | { [condition: string]: Conditions };
const targets = (entry: Conditions): string[] =>
  typeof entry === 'string' ? [entry] : Object.values(entry).flatMap(targets);

/** What of a workflow is read here. */
interface Workflow {
  jobs: Record<string, { steps: { run?: string }[] }>;
}

interface Manifest {
  version: string;
  exports: Record<string, Conditions>;
  bin: Record<string, string>;
  files: string[];
  engines: Record<string, string>;
  optionalDependencies: Record<string, string>;
}
const manifest = (folder: string) =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

/** The folders of the platforms' packages. */
const platforms = () =>
  readdirSync(join(root, 'npm'), { withFileTypes: true }).filter((each) => each.isDirectory());

const packed = { root: [] as string[], platform: [] as string[] };

beforeAll(async () => {
  if (skip !== false) return;
  // A copy: npm's hooks change package.json and build while they pack.
  mkdirSync(checkout);
  for (const each of [
    'package.json',
    'tsconfig.json',
    'index.ts',
    'src',
    'npm',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'docs',
    'examples',
    'crates',
  ])
    if (existsSync(join(root, each)))
      cpSync(join(root, each), join(checkout, each), {
        recursive: true,
        filter: (path) => !path.includes('node_modules'),
      });
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'));
  const tarballs = tools.scratch('tarballs');
  mkdirSync(tarballs);
  for (const cwd of [checkout, join(checkout, 'npm', platform)])
    await succeed('npm', ['pack', '--pack-destination', tarballs], { cwd });
  const list = (start: string) => {
    const file = readdirSync(tarballs).find((each) => each.startsWith(start)) ?? assert.fail(`no ${start}`);
    const content = execFileSync('tar', ['-tzf', join(tarballs, file)], { encoding: 'utf8' });
    return {
      file: join(tarballs, file),
      names: content
        .trim()
        .split('\n')
        .map((line) => line.replace(/^package\//, '')),
    };
  };
  const [main, native] = [list('malloc-backend-0'), list(`malloc-backend-${platform}`)];
  packed.root = main.names;
  packed.platform = native.names;

  mkdirSync(bin);
  for (const each of ['node', 'npm', 'sh', 'env', 'cat', 'ls'])
    symlinkSync(
      each === 'node' ? process.execPath : (tools.which(each) ?? assert.fail(each)),
      join(bin, each),
    );
  mkdirSync(consumer);
  writeFileSync(join(consumer, 'package.json'), '{ "name": "consumer", "private": true }');
  // What is not in the two tarballs cannot be had: the other platforms' packages are optional.
  await succeed('npm', ['install', '--offline', '--no-save', main.file, native.file], at({}));
});

describe('the tarballs', { skip }, () => {
  test('have what their manifests name', () => {
    const { exports, bin: commands } = manifest(checkout);
    for (const file of [...targets(exports), ...Object.values(commands)])
      assert.ok(packed.root.includes(file.replace(/^\.\//, '')), file);
    for (const file of [...manifest(join(checkout, 'npm', platform)).files, 'package.json', 'README.md'])
      assert.ok(packed.platform.includes(file), file);
    assert.equal(
      packed.platform.filter((file) => /\.(so|node)$|^malloc-backend$/.test(file)).length,
      // The addon, the command, the shims with the probe, the hook for Python, and on x64 the hooks of the heap profile and the
      // library that profiles Python.
      2 + (SWITCHING.length + 1) + 1 + (process.arch === 'x64' ? 2 : 0),
    );
  });

  test('have nothing else', () => {
    const other = packed.root.filter(
      (file) =>
        !/^(dist\/(index\.|src\/(?!cli\/)|cli\/\w+\.cjs$)|package\.json$|docs\/[\w-]+\.md$|docs\/results\/\w+\.svg$|examples\/[\w-]+\.ts$|examples\/fleet\/[\w-]+\.(json|yml)$|examples\/kubernetes\/|crates\/malloc-shim\/include\/|README|LICENSE|CHANGELOG)/.test(
          file,
        ),
    );
    assert.deepEqual(other, []);
    // A map is worth nothing without the sources, and to name one that is not there makes bundlers warn.
    const maps = packed.root.filter((file) => file.endsWith('.map'));
    const module = readFileSync(join(consumer, 'node_modules', 'malloc-backend', 'dist', 'index.js'), 'utf8');
    assert.deepEqual([maps, module.match(/sourceMappingURL.*/)], [[], null]);
  });

  test('have the pages that their types, their messages and their pages point to', () => {
    const folder = join(consumer, 'node_modules', 'malloc-backend');
    const has = (file: string, where: string) =>
      assert.ok(packed.root.includes(file), `${where} names ${file}`);
    let links = 0;
    for (const where of packed.root.filter((file) => /\.(d\.c?ts|js|cjs)$|^docs\//.test(file))) {
      const content = readFileSync(join(folder, where), 'utf8');
      for (const [page] of content.matchAll(/\bdocs\/[\w-]+\.md\b/g)) has(page, where);
      if (!where.endsWith('.md')) continue;
      for (const [, target = ''] of content.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
        has(posix.join('docs', target), where);
        links += 1;
      }
    }
    assert.ok(links > 10, 'the links are found');
  });

  test('say from which glibc on they work', { skip: notGlibc }, async () => {
    const said = (file: string, pattern: RegExp) => pattern.exec(readFileSync(join(root, file), 'utf8'))?.[1];
    const documented = said(`npm/${platform}/README.md`, /needs glibc (\d+\.\d+) or newer/) ?? assert.fail();
    assert.equal(said('README.md', /glibc (\d+\.\d+) \(.*\) or\s+newer/), documented);
    // The newest that the files name, by another tool than the check's.
    const file = join(root, 'npm', platform, `malloc-backend.${platform}.node`);
    const { stdout } = await succeed('objdump', ['-T', file]);
    const [needed = ''] = [...stdout.matchAll(/GLIBC_(\d+\.\d+)/g)]
      .map(([, version = '']) => version)
      .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }));
    const isNewer = needed.localeCompare(documented, 'en', { numeric: true }) > 0;
    const { code, stderr } = await run(process.execPath, ['npm/check.mjs', '--release', `npm/${platform}`], {
      cwd: checkout,
    });
    assert.equal(code, isNewer ? 1 : 0, stderr);
    if (isNewer)
      assert.match(stderr, new RegExp(`\\.node needs glibc ${needed}, and the README says ${documented}`));
    // As if it had been documented so.
    const readme = join(checkout, 'npm', platform, 'README.md');
    writeFileSync(readme, readFileSync(readme, 'utf8').replace(`glibc ${documented}`, `glibc ${needed}`));
    const check = await run(process.execPath, ['npm/check.mjs', '--release', `npm/${platform}`], {
      cwd: checkout,
    });
    assert.equal(check.code, 0, check.stderr);
  });

  test(
    'have no symbol that an older glibc may lack and that names no version',
    {
      skip: notGlibc || (tools.which('gcc') === undefined && 'gcc is not installed'),
    },
    async () => {
      const folder = join(checkout, 'npm', platform);
      const library = join(folder, 'libmalloc_backend_default.so');
      const kept = readFileSync(library);
      const check = async (declaration: string) => {
        const source = tools.file(
          'unversioned.c',
          `${declaration}\nint asked(void) { return call(); }`,
          0o644,
        );
        // Without libc there is nothing to take a version from.
        await succeed('gcc', ['-shared', '-fPIC', '-nostdlib', '-o', library, source]);
        const { stderr } = await run(process.execPath, ['npm/check.mjs', '--release', `npm/${platform}`], {
          cwd: checkout,
        });
        return /libmalloc_backend_default\.so needs (\w+) of no version/.exec(stderr)?.[1];
      };
      try {
        // glibc has it since 2.30, 2.32, and always.
        assert.equal(await check('int gettid(void);\n#define call gettid'), 'gettid');
        const data = 'extern char __libc_single_threaded;\n#define call() __libc_single_threaded';
        assert.equal(await check(data), '__libc_single_threaded');
        assert.equal(await check('int gettid(void) __attribute__((weak));\n#define call gettid'), undefined);
        const known =
          'int memcmp(const void *, const void *, __SIZE_TYPE__);\n#define call() memcmp("", "", 0)';
        assert.equal(await check(known), undefined);
      } finally {
        writeFileSync(library, kept);
      }
    },
  );

  test('name the platforms’ packages by their version, and the checkout by their folder', () => {
    const { version, optionalDependencies } = manifest(join(consumer, 'node_modules', 'malloc-backend'));
    assert.deepEqual(
      optionalDependencies,
      Object.fromEntries(platforms().map((each) => [`@malloc-backend/${each.name}`, version])),
    );
    assert.deepEqual(manifest(checkout), manifest(root), 'as it was before it was packed');
  });

  test('are what is published, as the registry would show it', async () => {
    // The workflow's own commands, against a registry that keeps what it is sent. Nobody signs here where it comes from.
    const workflow = parse(readFileSync(join(root, '.github', 'workflows', 'ci.yml'), 'utf8')) as Workflow;
    const publish = workflow.jobs['publish']?.steps.at(-1)?.run ?? assert.fail('no npm publish');
    const unsigned = publish.replaceAll('--provenance', '--provenance=false');
    assert.equal(publish.split('--provenance').length, publish.split('npm publish').length);
    const sent: string[] = [];
    const registry = createServer(async (request, response) => {
      const body = await text(request);
      if (request.method === 'PUT') sent.push(body);
      response.writeHead(request.method === 'PUT' ? 201 : 404).end('{}');
    });
    await once(registry.listen(0, '127.0.0.1'), 'listening');
    const host = `//127.0.0.1:${(registry.address() as AddressInfo).port}/`;
    const userconfig = tools.file('npmrc', `registry=http:${host}\n${host}:_authToken=none\n`, 0o600);
    await succeed('bash', ['-ec', unsigned], {
      cwd: dirname(tools.scratch('tarballs')),
      env: { npm_config_userconfig: userconfig, npm_config_registry: `http:${host}` },
    });
    registry.close();
    const names = sent.map((each) => (JSON.parse(each) as { name: string }).name);
    assert.deepEqual(names, [name, 'malloc-backend'], 'the platform first');
    const { versions } = JSON.parse(sent[1] ?? '{}') as { versions: Record<string, Manifest> };
    const { version } = manifest(root);
    for (const dependency of Object.values(versions[version]?.optionalDependencies ?? assert.fail()))
      assert.equal(dependency, version);
  });

  test('bring the licences of what is in the binaries', () => {
    const licences = readFileSync(join(root, 'npm', 'THIRD_PARTY_LICENSES'), 'utf8');
    for (const allocator of ['Jason Evans', 'Daan Leijen', 'Microsoft Corporation. All rights reserved'])
      assert.ok(licences.includes(allocator), allocator);
    for (const { name: folder } of platforms()) {
      const there = join(checkout, 'npm', folder);
      for (const each of ['LICENSE', 'THIRD_PARTY_LICENSES'])
        assert.ok(manifest(there).files.includes(each), `${folder}: ${each}`);
      assert.equal(readFileSync(join(there, 'THIRD_PARTY_LICENSES'), 'utf8'), licences, folder);
      assert.ok(existsSync(join(there, 'LICENSE')), folder);
    }
  });

  test('lack no licence of a crate in the lock file', { skip: noCargo }, async () => {
    const licences = join(checkout, 'npm', 'THIRD_PARTY_LICENSES');
    for (const each of ['Cargo.toml', 'Cargo.lock']) symlinkSync(join(root, each), join(checkout, each));
    // A cargo that has something to say, as on a machine where it has to download first.
    mkdirSync(tools.scratch('talkative'));
    tools.file('talkative/cargo', `#!/bin/sh\necho Downloading >&2\nPATH=$REAL_PATH exec cargo "$@"\n`);
    const { PATH = '' } = process.env;
    const talkative = { PATH: `${tools.scratch('talkative')}:${PATH}`, REAL_PATH: PATH };
    const check = () =>
      run(process.execPath, [join(checkout, 'npm', 'licences.mjs'), 'check'], { env: talkative });
    const whole = await check();
    assert.deepEqual([whole.code, whole.stderr], [0, '']);
    writeFileSync(licences, readFileSync(licences, 'utf8').replace(/^slab \d.*\n/m, ''));
    const { code, stderr } = await check();
    assert.equal(code, 1);
    assert.match(stderr, /lacks slab \d/);
  });

  test('pass the smoke test of the workflow, which notices a library that is not there', async () => {
    const tarballs = tools.scratch('tarballs');
    const smoke = (from: string) => run(process.execPath, [join(root, 'npm', 'smoke.mjs'), from]);
    const { code, stdout, stderr } = await smoke(tarballs);
    assert.deepEqual([code, stdout], [0, `${platform}: the tarballs install, run and import\n`], stderr);
    const broken = tools.scratch('broken');
    const native = join(checkout, 'npm', platform);
    renameSync(join(native, 'libmalloc_backend_snmalloc.so'), join(checkout, 'away'));
    cpSync(tarballs, broken, { recursive: true });
    await succeed('npm', ['pack', '--pack-destination', broken], { cwd: native });
    renameSync(join(checkout, 'away'), join(native, 'libmalloc_backend_snmalloc.so'));
    const without = await smoke(broken);
    assert.equal(without.code, 1);
    assert.match(without.stderr, /libmalloc_backend_snmalloc\.so/);
  });

  test('want the same Node', () => {
    for (const folder of [root, ...platforms().map((each) => join(root, 'npm', each.name))])
      assert.deepEqual(manifest(folder).engines, { node: '^20.19.0 || >=22.12.0' }, folder);
  });

  test('are checked before they are published', async () => {
    const check = (...folders: string[]) =>
      run(process.execPath, [join(checkout, 'npm', 'check.mjs'), ...folders], { cwd: checkout });
    const whole = await check();
    assert.deepEqual([whole.code, whole.stderr], [0, '']);
    const cases = [
      [`npm/${platform}`, 'libmalloc_backend_jemalloc.so'],
      [`npm/${platform}`, 'THIRD_PARTY_LICENSES'],
      ['.', 'dist/cli/elsewhere.cjs'],
    ] as const;
    for (const [folder, file] of cases) {
      renameSync(join(checkout, folder, file), join(checkout, 'away'));
      const { code, stderr } = await check(folder);
      assert.equal(code, 1);
      assert.ok(stderr.includes(file), stderr);
      renameSync(join(checkout, 'away'), join(checkout, folder, file));
    }
  });
});

describe('installed', { skip }, () => {
  const installed = join(consumer, 'node_modules', name);
  /** What a service has for its metrics. */
  const bring = () => {
    for (const brought of ['prom-client', '@opentelemetry']) {
      const link = join(consumer, 'node_modules', brought);
      if (!existsSync(link)) symlinkSync(join(root, 'node_modules', brought), link);
    }
  };

  test('there is no Rust', async () => {
    for (const program of ['cargo', 'rustc', 'cc'])
      assert.equal((await run('sh', ['-c', `command -v ${program}`], at())).code, 127);
  });

  test('run and doctor', async () => {
    for (const backend of ['default', ...SWITCHING]) {
      const args = ['run', backend, '--', 'node', '-p', "require('malloc-backend').activeBackend().backend"];
      const { code, stdout, stderr } = await command(args);
      assert.deepEqual([code, stdout, stderr], [0, `${backend}\n`, '']);
    }
    const { stdout } = await command(['doctor', '--json']);
    const diagnosis = JSON.parse(stdout) as { binaries: string; obstacles: unknown[] };
    assert.deepEqual([diagnosis.binaries, diagnosis.obstacles], [installed, []]);
    assert.equal((await command(['--version'])).stdout, `${manifest(root).version}\n`);
    const npx = await succeed(
      'npm',
      ['exec', '--offline', '--', 'malloc-backend', 'run', 'mimalloc', 'cat', '/proc/self/maps'],
      at(),
    );
    assert.match(npx.stdout, /libmalloc_backend_mimalloc/);
  });

  test('the command is the root’s, for every platform, and says where the program without Node lies', async () => {
    const linked = realpathSync(join(consumer, 'node_modules', '.bin', 'malloc-backend'));
    assert.equal(linked, join(consumer, 'node_modules/malloc-backend/dist/cli/main.cjs'));
    // What npm makes of it on Windows starts what this line names.
    assert.match(readFileSync(linked, 'utf8'), /^#!\/usr\/bin\/env node\n/);
    // npm 9 to 11.0 trash the packages for other platforms together with the commands that they name.
    for (const { name: folder } of platforms())
      assert.equal(manifest(join(root, 'npm', folder)).bin, undefined, folder);
    assert.equal((await command(['path', '--folder'])).stdout, `${realpathSync(installed)}\n`);
    const { stdout } = await succeed(
      join(installed, 'malloc-backend'),
      ['run', 'jemalloc', 'cat', '/proc/self/maps'],
      at(),
    );
    assert.match(stdout, /libmalloc_backend_jemalloc/);
  });

  test('import and require', async () => {
    const names = Object.keys((await import(tools.index)) as object).sort();
    const shown =
      'console.log(JSON.stringify([Object.keys(m).sort(), m.backends().map((b) => b.backend), m.activeBackend().kind]))';
    const esm = await node(['--input-type=module', '-e', `import * as m from 'malloc-backend'; ${shown}`]);
    const cjs = await node(['--input-type=commonjs', '-e', `const m = require('malloc-backend'); ${shown}`]);
    const expected = [names, ['default', 'jemalloc', 'mimalloc', 'snmalloc', 'rust'], 'libc'];
    assert.deepEqual(JSON.parse(esm.stdout), expected);
    assert.deepEqual(
      JSON.parse(cjs.stdout).map((each: string[] | string) =>
        Array.isArray(each) ? each.filter((key) => key !== '__esModule' && key !== 'module.exports') : each,
      ),
      expected,
    );
    // One copy of everything, whichever way it came: a class of one is the other's, and so is its state.
    const both = await node([
      '--input-type=module',
      '-e',
      `import { createRequire } from 'node:module';
       import * as esm from 'malloc-backend';
       const cjs = createRequire(process.cwd() + '/x.js')('malloc-backend');
       console.log(Object.keys(esm).every((name) => esm[name] === cjs[name]));`,
    ]);
    assert.equal(both.stdout, 'true\n');
    const inner = await run(
      process.execPath,
      ['-e', "import('malloc-backend/dist/src/native/loader.js')"],
      at(),
    );
    assert.match(inner.stderr, /ERR_PACKAGE_PATH_NOT_EXPORTED/);
  });

  test('Python, in a child, by the command and in this process', { skip: noPython }, async () => {
    const options = { python: python?.file, allocatorBackend: 'snmalloc' };
    const { stdout } = await node([
      '--input-type=module',
      '-e',
      `import { PythonInterpreter, spawnPython } from 'malloc-backend';
         const options = ${JSON.stringify(options)};
         const { domains } = await spawnPython(['-c', ''], options).applied;
         const interpreter = await PythonInterpreter.start(options);
         console.log(domains.raw.backend, interpreter.info().domains.raw.backend, await interpreter.eval('6 * 7'));`,
    ]);
    assert.equal(stdout, 'snmalloc snmalloc 42\n');
    const args = ['python', 'jemalloc', '--report', '--python', options.python ?? '', '--', '-c', 'print(1)'];
    const outcome = await command(args);
    assert.equal(outcome.stdout, '1\n');
    assert.deepEqual(JSON.parse(outcome.stderr).domains, ['raw']);
  });

  test('memory, and metrics with what the service brings itself', async () => {
    const shown = 'memory().then(({ parts }) => console.log(Object.keys(parts).includes("v8Heap")))';
    assert.equal(
      (await node(['-e', `const { memory } = require('malloc-backend'); ${shown}`])).stdout,
      'true\n',
    );
    const code = `const { Registry } = require('prom-client');
      const { collectMallocMetrics } = require('malloc-backend/prometheus');
      const { observeMallocMetrics } = require('malloc-backend/opentelemetry');
      observeMallocMetrics(require('@opentelemetry/api').metrics.getMeterProvider()).stop();
      const register = new Registry();
      collectMallocMetrics({ register });
      register.metrics().then((text) => console.log(/^malloc_backend_memory_bytes\\{/m.test(text)));`;
    const without = await run(process.execPath, ['-e', code.replace(/^.*prom-client.*$/m, '')], at());
    assert.match(without.stderr, /Cannot find module 'prom-client'/);
    bring();
    assert.equal((await node(['-e', code])).stdout, 'true\n');
  });

  test('register', async () => {
    for (const form of ['--import', '--require']) {
      const args = [
        form,
        'malloc-backend/register',
        '-p',
        "require('malloc-backend').activeBackend().backend",
      ];
      const { stdout } = await node(args, { env: { MALLOC_BACKEND: 'snmalloc' } });
      assert.equal(stdout, 'snmalloc\n');
    }
  });

  test(
    'its types',
    { skip: !existsSync(join(root, 'node_modules', 'typescript')) && 'no TypeScript here' },
    async () => {
      writeFileSync(
        join(consumer, 'consumer.mts'),
        `import { type Preset, type Proof, MemoryAllocatorBackend, backends, spawn } from 'malloc-backend';
      import 'malloc-backend/register';
      const backend: MemoryAllocatorBackend = MemoryAllocatorBackend.Mimalloc;
      const preset: Preset = 'low-rss';
      const child = spawn('true', ['x'], { backend, preset, children: 'none', set: { a: 'b' } });
      export const proof: Promise<Proof> = child.applied;
      export const pid: number | undefined = child.pid;
      // The streams are those of child_process: null where stdio makes no pipe, or may not.
      child.stdout.on('data', String);
      spawn('true', { backend, stdio: 'pipe' }).stdin.end();
      const piped = spawn('true', [], { backend, stdio: ['ignore', 'pipe', 'inherit'] });
      export const streams: [null, null] = [piped.stdin, piped.stderr];
      piped.stdout.resume();
      // @ts-expect-error: no pipes
      spawn('true', [], { backend, stdio: 'inherit' }).stdout.resume();
      // @ts-expect-error: it depends
      spawn('true', [], { backend, stdio: ['pipe', pid === 1 ? 'pipe' : 'ignore', 'pipe'] }).stdout.resume();
      export const reason: string | undefined = backends()[0]?.surfaces.process.reason;
      // @ts-expect-error: none of the five
      export const wrong: MemoryAllocatorBackend = 'tcmalloc';
      // @ts-expect-error: the backend is required
      spawn('true', []);`,
      );
      bring();
      // CommonJS, for which TypeScript long did not know that Node can require an ES module.
      writeFileSync(
        join(consumer, 'consumer.cts'),
        `import { type Preset, Allocator, MallocBackendError, MemoryAllocatorBackend, spawn } from 'malloc-backend';
      import whole = require('malloc-backend');
      import type * as esm from 'malloc-backend' with { 'resolution-mode': 'import' };
      import { observeMallocMetrics } from 'malloc-backend/opentelemetry';
      import { collectMallocMetrics } from 'malloc-backend/prometheus';
      import 'malloc-backend/register';
      export const names: unknown[] = [observeMallocMetrics, collectMallocMetrics, MallocBackendError];
      export class Mine extends whole.MallocBackendError {}
      const preset: Preset = 'low-rss';
      spawn('true', { backend: MemoryAllocatorBackend.Jemalloc, preset }).stdout.resume();
      const allocator: Allocator = Allocator.create('jemalloc');
      // One class to every kind of caller.
      export const same: esm.Allocator = allocator;
      export const back: whole.Allocator = same;
      // @ts-expect-error: none of the five
      export const wrong: MemoryAllocatorBackend = 'tcmalloc';`,
      );
      const types = join(root, 'node_modules', '@types');
      const tsc = join(root, 'node_modules', '.bin', 'tsc');
      const options = ['--noEmit', '--strict', '--target', 'es2023', '--types', 'node', '--typeRoots', types];
      for (const module of ['node16', 'nodenext']) {
        const args = [...options, '--module', module, 'consumer.mts', 'consumer.cts'];
        const { code, stdout } = await run(tsc, args, { cwd: consumer });
        assert.deepEqual([code, stdout], [0, ''], module);
      }
    },
  );

  test('without the platform’s package, that is said, with the remedy', async () => {
    renameSync(installed, join(consumer, 'away'));
    try {
      const patterns = [
        new RegExp(`${process.platform}-${process.arch}`),
        new RegExp(name),
        /--omit=optional/,
        /MALLOC_BACKEND_BINARY_DIR/,
      ];
      const { code, stdout, stderr } = await command(['run', 'mimalloc', '--', 'ls']);
      assert.deepEqual([code, stdout], [126, '']);
      const api = await node([
        '-p',
        "try { require('malloc-backend').backends() } catch ({ code, message }) { [code, message].join(' ') }",
      ]);
      assert.match(api.stdout, /^ERR_BINARY_MISSING /);
      for (const pattern of patterns) for (const text of [stderr, api.stdout]) assert.match(text, pattern);
      assert.equal((await node(['-p', "require('malloc-backend').parseBackend('rust')"])).stdout, 'rust\n');
      assert.equal((await command(['--help'])).code, 0);
      // A folder of its own takes the package's place.
      const override = await command(['run', 'mimalloc', 'cat', '/proc/self/maps'], {
        env: { ...env, MALLOC_BACKEND_BINARY_DIR: join(consumer, 'away') },
      });
      assert.match(override.stdout, /away\/libmalloc_backend_mimalloc\.so/);
    } finally {
      renameSync(join(consumer, 'away'), installed);
    }
  });
});
