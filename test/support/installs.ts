// What holds after an install with a package manager, in the order in which a project meets it.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Manager, start } from './managers.js';
import type { Registry } from './registry.js';
import { type Outcome, run } from './run.js';
import { platform } from './shims.js';

export const columns = [
  'command',
  'import',
  'require',
  'second install',
  'production install',
  'without optional',
] as const;
export type Column = (typeof columns)[number];

/** Where else the command is started from, with npm. */
export const places = [
  'npm i -g',
  'npx malloc-backend',
  'npx ./tarball.tgz',
  'cp -RL node_modules',
  'zip -r node_modules',
] as const;
export type Place = (typeof places)[number];

export type Result = 'yes' | 'not tried' | Error;

const ESM = `import { activeBackend, spawn } from 'malloc-backend';
const { backend } = await spawn('true', { backend: 'jemalloc' }).applied;
console.log(backend, activeBackend().kind);
`;
const CJS = `const { activeBackend, spawn } = require('malloc-backend');
spawn('true', { backend: 'jemalloc' }).applied.then(({ backend }) => console.log(backend, activeBackend().kind));
`;
const MISSING = `try { require('malloc-backend').backends() } catch ({ code, message }) { console.log(code, message) }`;

/** A project with a manager, whose homes and caches are empty. */
class Project {
  readonly folder: string;
  readonly #words: readonly string[];
  readonly npx: readonly string[];
  readonly #env: readonly string[];
  readonly #manager: Manager;

  constructor(manager: Manager, registry: Registry, scratch: string, name: string) {
    this.#manager = manager;
    const place = join(scratch, `${manager.name.replaceAll(/[ ,]+/g, '-')}-${name}`);
    this.folder = join(place, 'project');
    mkdirSync(this.folder, { recursive: true });
    const { words, npx, bin } = start(manager, place);
    this.#words = words;
    this.npx = npx;
    const home = join(place, 'home');
    mkdirSync(home);
    // Nothing of the manager that started the tests.
    this.#env = [`PATH=${bin}:/usr/local/bin:/usr/bin:/bin`, `HOME=${home}`];
    this.write({
      ...manager.files(registry.url),
      'package.json': '{ "name": "project", "version": "1.0.0", "private": true }',
      'esm.mjs': ESM,
      'cjs.cjs': CJS,
      'missing.cjs': MISSING,
    });
  }

  write(files: Readonly<Record<string, string>>): void {
    for (const [file, content] of Object.entries(files))
      writeFileSync(join(this.folder, file), content, { flag: file === '.yarnrc.yml' ? 'a' : 'w' });
  }

  start(words: readonly string[]): Promise<Outcome> {
    return run('env', ['-i', ...this.#env, ...words], { cwd: this.folder });
  }

  async succeed(words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.start(words);
    assert.equal(code, 0, `${words.join(' ')}\n${stdout}${stderr}`);
    return stdout;
  }

  async manager(words: readonly string[]): Promise<void> {
    await this.succeed([...this.#words, ...words]);
  }

  /** How the command is started: by the manager, and by its place. */
  commands(): string[][] {
    const linked = join(this.folder, 'node_modules', '.bin', 'malloc-backend');
    if (this.#manager.bin) assert.ok(existsSync(linked), `there is no ${linked}`);
    return [
      [...this.#words, ...this.#manager.exec, 'malloc-backend'],
      ...(this.#manager.bin ? [[linked]] : []),
    ];
  }

  /** That the command switches a program, and that its own program is this platform's. */
  async command(commands = this.commands()): Promise<void> {
    for (const command of commands) {
      const maps = await this.succeed([...command, 'run', 'jemalloc', '--', 'cat', '/proc/self/maps']);
      assert.match(maps, /libmalloc_backend_jemalloc\.so/);
      const folder = (await this.succeed([...command, 'path', '--folder'])).trim();
      assert.equal(basename(realpathSync(folder)), platform);
      assert.match(await this.succeed([...command, 'doctor', '--json']), /"binaries"/);
    }
  }

  /** What Node prints for one of the project's files. */
  node(file: string): Promise<string> {
    return this.succeed([
      ...(this.#manager.run === undefined ? [] : this.#words),
      ...(this.#manager.run ?? ['node']),
      file,
    ]);
  }

  forget(): void {
    for (const each of ['node_modules', '.yarn', '.pnp.cjs', '.pnp.loader.mjs'])
      rmSync(join(this.folder, each), { recursive: true, force: true });
  }
}

/** Works in turn: `yes`, or the error. */
async function* each<Name extends string>(
  names: readonly Name[],
  work: Record<Name, () => Promise<Result | void>>,
): AsyncGenerator<[Name, Result]> {
  for (const name of names) {
    try {
      yield [name, (await work[name]()) ?? 'yes'];
    } catch (error) {
      yield [name, error as Error];
    }
  }
}

export function check(
  manager: Manager,
  registry: Registry,
  scratch: string,
): AsyncGenerator<[Column, Result]> {
  const project = new Project(manager, registry, scratch, 'with');
  const applied = async (file: string) => assert.equal(await project.node(file), 'jemalloc libc\n');
  return each(columns, {
    async command() {
      await project.manager(manager.add('malloc-backend'));
      await project.command();
    },
    import: () => applied('esm.mjs'),
    require: () => applied('cjs.cjs'),
    async 'second install'() {
      for (const other of ['one', 'other']) await project.manager(manager.add(other));
      await project.command();
    },
    async 'production install'() {
      project.forget();
      await project.manager(manager.production);
      await project.command();
      await applied('cjs.cjs');
    },
    async 'without optional'() {
      const without = new Project(manager, registry, scratch, 'without');
      if ('files' in manager.without) without.write(manager.without.files);
      await without.manager(
        'add' in manager.without ? manager.without.add('malloc-backend') : manager.add('malloc-backend'),
      );
      assert.match(await without.node('missing.cjs'), /^ERR_BINARY_MISSING .*not installed.*--omit=optional/);
      for (const command of without.commands()) {
        const { code, stderr } = await without.start([...command, 'run', 'mimalloc', 'true']);
        assert.notEqual(code, 0);
        assert.match(stderr, /malloc-backend has no binary for .*--omit=optional/);
      }
    },
  });
}

export function checkElsewhere(
  npm: Manager,
  registry: Registry,
  scratch: string,
  tarball: string,
): AsyncGenerator<[Place, Result]> {
  const project = (name: string) => new Project(npm, registry, scratch, name);
  const installed = async (name: string) => {
    const started = project(name);
    await started.manager(npm.add('malloc-backend'));
    return started;
  };
  const copied = join('copy', 'node_modules', '.bin', 'malloc-backend');
  return each(places, {
    async 'npm i -g'() {
      const started = project('global');
      // A project's .npmrc does not count there.
      const options = ['--global', '--prefix', join(started.folder, 'global'), '--registry', registry.url];
      await started.manager(['install', ...options, 'malloc-backend']);
      await started.command([[join(started.folder, 'global', 'bin', 'malloc-backend')]]);
    },
    async 'npx malloc-backend'() {
      const started = project('npx');
      await started.command([[...started.npx, '--yes', 'malloc-backend']]);
    },
    async 'npx ./tarball.tgz'() {
      const started = project('npx-tarball');
      // npx takes an absolute path for a program, and cannot execute it.
      copyFileSync(tarball, join(started.folder, basename(tarball)));
      await started.command([[...started.npx, '--yes', `./${basename(tarball)}`]]);
    },
    async 'cp -RL node_modules'() {
      const started = await installed('cp');
      mkdirSync(join(started.folder, 'copy'));
      await started.succeed(['cp', '-RL', 'node_modules', 'copy/']);
      await started.command([[join(started.folder, copied)]]);
    },
    async 'zip -r node_modules'() {
      const started = await installed('zip');
      if ((await started.start(['sh', '-c', 'zip --version && unzip -v'])).code !== 0) return 'not tried';
      await started.succeed(['zip', '-qr', 'all.zip', 'node_modules']);
      await started.succeed(['unzip', '-q', 'all.zip', '-d', 'copy']);
      await started.command([[join(started.folder, copied)]]);
    },
  });
}
