import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root, scratch } from './measure.js';
import type { Allocator } from './pair.js';

/** How an allocator's authors build a shared library from the sources that its crate comes with. */
interface Upstream {
  crate: string;
  /** Builds it in an empty folder, and says what the file is called there. */
  build: (sources: string, folder: string) => string;
}

function run(folder: string, command: string, ...args: string[]): void {
  // Flags of the caller's would take the place of theirs.
  const { CFLAGS: _, CXXFLAGS: __, CPPFLAGS: ___, LDFLAGS: ____, ...env } = process.env;
  execFileSync(command, args, { cwd: folder, env, stdio: ['ignore', 'ignore', 'pipe'], maxBuffer: 2 ** 26 });
}

/** `./configure && make`, without arguments but the version, for which it would ask git. */
const jemalloc: Upstream = {
  crate: 'tikv-jemalloc-sys',
  build(sources, folder) {
    cpSync(join(sources, 'jemalloc'), folder, { recursive: true });
    cpSync(join(sources, 'configure/configure'), join(folder, 'configure'));
    run(folder, 'sh', 'configure', `--with-version=${sources.split('+')[1]}`);
    run(folder, 'make', '-j2', 'build_lib_shared');
    return 'lib/libjemalloc.so.2';
  },
};

/** The target `mimalloc` of its CMakeLists.txt, with GCC on Linux and every option as it is there. */
const mimalloc: Upstream = {
  crate: 'libmimalloc-sys',
  build(sources, folder) {
    const upstream = join(sources, 'c_src/mimalloc/v2');
    const listed = /set\(mi_sources([^)]*)\)/.exec(
      readFileSync(join(upstream, 'CMakeLists.txt'), 'utf8'),
    )?.[1];
    const files = (listed ?? '').trim().split(/\s+/);
    const flags =
      '-O3 -DNDEBUG -std=gnu11 -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-builtin-malloc ' +
      '-DMI_SHARED_LIB -DMI_SHARED_LIB_EXPORT -DMI_MALLOC_OVERRIDE -DMI_CMAKE_BUILD_TYPE=release -DMI_BUILD_RELEASE';
    const linked = [
      '-shared',
      '-Wl,-soname,libmimalloc.so.2',
      '-o',
      join(folder, 'libmimalloc.so'),
      '-lpthread',
    ];
    run(upstream, 'cc', ...flags.split(' '), '-Iinclude', ...files, ...linked);
    return 'libmimalloc.so';
  },
};

/** The target `snmallocshim`, likewise. */
const snmalloc: Upstream = {
  crate: 'snmalloc-sys',
  build(sources, folder) {
    const flags =
      '-O3 -DNDEBUG -std=gnu++20 -fPIC -fvisibility=hidden -mcx16 -fomit-frame-pointer -mprfchw ' +
      '-ftls-model=initial-exec -ffunction-sections -DSNMALLOC_USE_CXX11_THREAD_ATEXIT_DIRECT ' +
      '-DSNMALLOC_EXPORT=__attribute__((visibility("default"))) -DSNMALLOC_CHECK_LOADS=false ' +
      '-DSNMALLOC_PAGEID=false -DSNMALLOC_USE_WAIT_ON_ADDRESS=1 -DSNMALLOC_NO_REALLOCARRAY ' +
      '-DSNMALLOC_NO_REALLOCARR -DSNMALLOC_PLATFORM_HAS_GETENTROPY -DSNMALLOC_PTHREAD_ATFORK_WORKS ' +
      '-DSNMALLOC_HAS_LINUX_RANDOM_H -DSNMALLOC_HAS_LINUX_FUTEX_H -Isrc';
    const files = ['malloc', 'new'].map((name) => `src/snmalloc/override/${name}.cc`);
    const linked = ['-shared', '-static-libstdc++', '-o', join(folder, 'libsnmallocshim.so'), '-latomic'];
    const machine = flags
      .split(' ')
      .filter((flag) => process.arch === 'x64' || !/^-m(cx16|prfchw)$/.test(flag));
    run(join(sources, 'upstream'), 'c++', ...machine, ...files, ...linked, '-lpthread');
    return 'libsnmallocshim.so';
  },
};

const upstreams: Readonly<Record<Allocator, Upstream>> = { jemalloc, mimalloc, snmalloc };

/** Where cargo has the sources of a crate that Cargo.lock names, with its version at the end. */
function sourcesOf(crate: string): string {
  const args = ['metadata', '--format-version', '1', '--locked', '--all-features'];
  const { packages } = JSON.parse(
    execFileSync('cargo', args, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28 }),
  ) as { packages: { name: string; manifest_path: string }[] };
  const found = packages.find(({ name }) => name === crate);
  if (found === undefined) throw new Error(`cargo metadata names no crate ${crate}`);
  return dirname(found.manifest_path);
}

/** The shared library that the allocator's authors would release, of the version that is in the shim. Built once. */
export function upstreamLibrary(allocator: Allocator): string {
  const { crate, build } = upstreams[allocator];
  const sources = sourcesOf(crate);
  const library = scratch(`upstream-${sources.split('/').at(-1)}.so`);
  if (existsSync(library)) return library;
  const folder = mkdtempSync(scratch(`${allocator}-`));
  try {
    renameSync(join(folder, build(sources, folder)), library);
  } finally {
    rmSync(folder, { recursive: true });
  }
  return library;
}
