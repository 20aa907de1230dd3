// The preloadable libraries under test, as `npm run build` puts them into this platform's package.

import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The checkout. This module is in test/support for vitest, and in dist/test/support for a program that Node starts. */
export const root = import.meta.dirname.replace(/([\\/]dist)?[\\/]test[\\/]support$/, '');

/** The backends whose library replaces malloc. */
export const SWITCHING = ['jemalloc', 'mimalloc', 'snmalloc'] as const;
export type Switching = (typeof SWITCHING)[number];
export type Shim = Switching | 'default';

// Without this the report looks names up.
if ('excludeNetwork' in process.report) process.report.excludeNetwork = true;

export const isGlibc =
  process.platform === 'linux' &&
  'glibcVersionRuntime' in (process.report.getReport() as { header: object }).header;

/** Why nothing can be preloaded here; false where it can. For a test's `skip`. */
export const cannotPreload: string | false =
  process.platform === 'linux' ? false : `no LD_PRELOAD on ${process.platform}`;

/** Why a test that takes glibc's own functions for comparison cannot run; false where it can. */
export const notGlibc: string | false = cannotPreload || (isGlibc ? false : 'the C library is not glibc');

/** What runs this program on a system or a processor that it is not made for (platforms): qemu, or wine. */
export const emulator = process.env['TEST_EMULATOR'];
/** Why a test that looks at another process, or at what the kernel knows of one, cannot run; false where it can (platforms). */
export const emulated: string | false =
  emulator === undefined ? false : `in /proc, ${emulator} stands in the place of the program that it runs`;

/** This machine, as ELF files and Debian's folders call it. */
export const machine = process.arch === 'x64' ? 'x86_64' : 'aarch64';

const abi = { linux: isGlibc ? '-gnu' : '-musl', win32: '-msvc' }[process.platform as string] ?? '';

/** The platform package of this machine, `linux-x64-gnu` for example. */
export const platform = `${process.platform}-${process.arch}${abi}`;

/** Where the build puts them, or where the package itself is told to look. */
const folder = process.env['MALLOC_BACKEND_BINARY_DIR'] ?? join(root, 'npm', platform);

/** A library that is missing is a failure, not a skip: the build should have made it. */
export function shim(backend: Shim): string {
  const library = join(folder, `libmalloc_backend_${backend}.so`);
  if (!existsSync(library)) throw new Error(`${library} is missing: run npm run build`);
  return library;
}
