import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { BUNDLED } from '../bundled.js';
import { MallocBackendError, type MallocBackendErrorCode } from '../errors.js';
import { whyNotSupported } from '../process/supported.js';
import type * as declared from './binding.js';

/*
 * The addon: what `binding.d.ts` declares, which `npm run build` makes of `crates/node`.
 *
 * This module loads the addon, not the loader that @napi-rs/cli can generate. That one
 *
 * - loads the addon when it is imported, not at the first use;
 * - requires the platform's package as the addon itself, so @vercel/nft traces neither the libraries nor the command there;
 * - names some 30 packages `@malloc-backend/malloc-backend-<platform>`, of which 7 could exist, under other names than ours;
 * - takes from its own variable a file, not the folder of the addon and the libraries;
 * - throws for a missing package, a broken file and `--no-addons` the same error, without a code, which blames npm.
 */
type Linux = typeof declared.linux;
export type Addon = Omit<typeof declared, 'linux'> & { linux?: Linux };

/** The variable that names the folder of the addon and the preloadable libraries. */
const OVERRIDE = 'MALLOC_BACKEND_BINARY_DIR';

const names = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-x64-msvc',
] as const;

/** By words that stand here: so what traces files finds the packages. In a `try`, so that bundlers do without them. */
function requirePackage(name: (typeof names)[number]): { folder: string } | { error: Error } {
  try {
    switch (name) {
      case 'darwin-arm64':
        return require('@malloc-backend/darwin-arm64');
      case 'darwin-x64':
        return require('@malloc-backend/darwin-x64');
      case 'linux-arm64-gnu':
        return require('@malloc-backend/linux-arm64-gnu');
      case 'linux-arm64-musl':
        return require('@malloc-backend/linux-arm64-musl');
      case 'linux-x64-gnu':
        return require('@malloc-backend/linux-x64-gnu');
      case 'linux-x64-musl':
        return require('@malloc-backend/linux-x64-musl');
      case 'win32-x64-msvc':
        return require('@malloc-backend/win32-x64-msvc');
    }
  } catch (error) {
    return { error: error as Error };
  }
}

function load(): { addon: Addon; folder: string } {
  const here = `${process.platform}-${process.arch}`;
  // On Linux two. Which C library runs is known only once an addon loaded.
  const candidates = names.filter((name) => name === here || name.startsWith(`${here}-`));
  const override = process.env[OVERRIDE];
  const failures: string[] = [];
  // One after another, because a package that is not there takes long to be not found.
  for (const name of candidates) {
    const found = override ? { folder: resolve(override) } : requirePackage(name);
    if ('error' in found) {
      const { code, message } = found.error as NodeJS.ErrnoException;
      if (code === 'ERR_ACCESS_DENIED') throw notPermitted(`@malloc-backend/${name}`, found.error);
      if (code !== 'MODULE_NOT_FOUND') failures.push(`@malloc-backend/${name} does not load: ${message}`);
      continue;
    }
    const file = join(found.folder, `malloc-backend.${name}.node`);
    requireReadable(found.folder);
    if (!existsSync(file)) {
      failures.push(`${file} does not exist`);
      continue;
    }
    try {
      return { addon: withErrors(require(file) as Addon), folder: found.folder };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_DLOPEN_DISABLED') throw addonsDisabled(error);
      failures.push(`${file} does not load: ${(error as Error).message}`);
    }
  }
  const packages = candidates.map((name) => `@malloc-backend/${name}`);
  const absent =
    packages.length > 0
      ? `${packages.join(' or ')} is not installed`
      : 'there is no package for this platform';
  throw new MallocBackendError(
    'ERR_BINARY_MISSING',
    `malloc-backend has no binary for ${here}: ${failures.length > 0 ? failures.join('; ') : absent}. ` +
      `Install the package again on this platform, with optional dependencies (without --omit=optional). ${BUNDLED}. ` +
      `In a checkout, run "npm run build", and name the folder of the binaries in ${OVERRIDE}.`,
  );
}

/** What a program that has no addon loaded is switched by. */
const WITHOUT_ADDON = 'start it with "malloc-backend run <backend> -- node …", which needs no addon';

function addonsDisabled(cause: unknown): MallocBackendError {
  const remedy = 'permission' in process ? 'allow addons (--allow-addons)' : 'omit --no-addons';
  return new MallocBackendError(
    'ERR_NOT_PERMITTED',
    `Node may not load addons here, and malloc-backend needs its addon; ${remedy}, or ${WITHOUT_ADDON}`,
    { cause },
  );
}

/** Node's permission model lets a file that may not be read look as if it did not exist. */
function requireReadable(folder: string): void {
  const { permission } = process as { permission?: { has(scope: string, reference: string): boolean } };
  if (permission !== undefined && !permission.has('fs.read', folder)) throw notPermitted(folder);
}

/** An error for what Node's permission model does not let this process read. */
export function notPermitted(file: string, cause?: unknown): MallocBackendError {
  return new MallocBackendError(
    'ERR_NOT_PERMITTED',
    `Node's permission model does not let this process read ${file}; allow it (--allow-fs-read=…), or ${WITHOUT_ADDON}`,
    { cause },
  );
}

let loaded: ReturnType<typeof load> | undefined;

/** The addon, loaded at the first use: to import the package costs nothing. */
export function binding(): Addon {
  return (loaded ??= load()).addon;
}

/** The folder with the addon and the preloadable libraries. */
export function binaryFolder(): string {
  return (loaded ??= load()).folder;
}

/** The functions that only Linux has; `what` stands on them. */
export function linuxBinding(what = "switching a process's malloc"): Linux {
  const { linux } = binding();
  if (linux !== undefined) return linux;
  throw new MallocBackendError('ERR_BACKEND_UNAVAILABLE', whyNotSupported(what));
}

/** The same functions, but an error with one of our codes is a {@link MallocBackendError}, thrown or in a rejection. */
function withErrors<Functions extends object>(functions: Functions): Functions {
  const entries = Object.entries(functions).map(([name, value]) => [name, convert(value)]);
  return Object.fromEntries(entries) as Functions;
}

function convert(exported: unknown): unknown {
  if (typeof exported === 'object' && exported !== null) return withErrors(exported);
  // A class is one for its methods. None throws such an error.
  const isClass = (made: Function) => Object.getOwnPropertyNames(made.prototype ?? {}).length > 1;
  if (typeof exported !== 'function' || isClass(exported)) return exported;
  return (...args: unknown[]): unknown => {
    try {
      const result: unknown = exported(...args);
      return result instanceof Promise ? result.catch(rethrow) : result;
    } catch (error) {
      return rethrow(error);
    }
  };
}

function rethrow(error: unknown): never {
  const { code, message } = error as { code?: unknown; message: string };
  if (typeof code !== 'string' || !code.startsWith('ERR_')) throw error;
  throw new MallocBackendError(code as MallocBackendErrorCode, message);
}
