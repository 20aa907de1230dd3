// What holds after an install with a package manager, in the order in which a project meets it.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
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

const ESM = `import { activeBackend, spawn } from 'malloc-backend';
const { backend } = await spawn('true', { backend: 'jemalloc' }).applied;
console.log(backend, activeBackend().owner);
`;
const CJS = `const { activeBackend, spawn } = require('malloc-backend');
spawn('true', { backend: 'jemalloc' }).applied.then(({ backend }) => console.log(backend, activeBackend().owner));
`;
const MISSING = `try { require('malloc-backend').backends() } catch ({ code, message }) { console.log(code, message) }`;

/** A project with a manager, whose homes and caches are empty. */
class Project {
  readonly #folder: string;
  readonly #words: readonly string[];
  readonly #env: readonly string[];
  readonly #manager: Manager;

  constructor(manager: Manager, registry: Registry, scratch: string, name: string) {
    this.#manager = manager;
    const place = join(scratch, `${manager.name.replaceAll(/[ ,]+/g, '-')}-${name}`);
    this.#folder = join(place, 'project');
    mkdirSync(this.#folder, { recursive: true });
    const { words, bin } = start(manager, place);
    this.#words = words;
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
      writeFileSync(join(this.#folder, file), content, { flag: file === '.yarnrc.yml' ? 'a' : 'w' });
  }

  start(words: readonly string[]): Promise<Outcome> {
    return run('env', ['-i', ...this.#env, ...words], { cwd: this.#folder, seconds: 300 });
  }

  async #succeed(words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.start(words);
    assert.equal(code, 0, `${words.join(' ')}\n${stdout}${stderr}`);
    return stdout;
  }

  async manager(words: readonly string[]): Promise<void> {
    await this.#succeed([...this.#words, ...words]);
  }

  /** How the command is started: by the manager, and by its place. */
  commands(): string[][] {
    const linked = join(this.#folder, 'node_modules', '.bin', 'malloc-backend');
    if (this.#manager.bin) assert.ok(existsSync(linked), `there is no ${linked}`);
    return [
      [...this.#words, ...this.#manager.exec, 'malloc-backend'],
      ...(this.#manager.bin ? [[linked]] : []),
    ];
  }

  /** That the command switches a program, and that its own program is this platform's. */
  async command(): Promise<void> {
    for (const command of this.commands()) {
      const maps = await this.#succeed([...command, 'run', 'jemalloc', '--', 'cat', '/proc/self/maps']);
      assert.match(maps, /libmalloc_backend_jemalloc\.so/);
      const folder = (await this.#succeed([...command, 'path', '--folder'])).trim();
      assert.equal(basename(realpathSync(folder)), platform);
      assert.match(await this.#succeed([...command, 'doctor', '--json']), /"binaries"/);
    }
  }

  /** What Node prints for one of the project's files. */
  node(file: string): Promise<string> {
    return this.#succeed([
      ...(this.#manager.run === undefined ? [] : this.#words),
      ...(this.#manager.run ?? ['node']),
      file,
    ]);
  }

  forget(): void {
    for (const each of ['node_modules', '.yarn', '.pnp.cjs', '.pnp.loader.mjs'])
      rmSync(join(this.#folder, each), { recursive: true, force: true });
  }
}

/** Looks at each column in turn: `yes`, or the error. */
export async function* check(
  manager: Manager,
  registry: Registry,
  scratch: string,
): AsyncGenerator<[Column, 'yes' | Error]> {
  const project = new Project(manager, registry, scratch, 'with');
  const applied = async (file: string) => assert.equal(await project.node(file), 'jemalloc libc\n');
  const work: Record<Column, () => Promise<void>> = {
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
  };
  for (const column of columns) {
    try {
      await work[column]();
      yield [column, 'yes'];
    } catch (error) {
      yield [column, error as Error];
    }
  }
}
