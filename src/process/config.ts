import { resolve } from 'node:path';
import { type MemoryAllocatorBackend, type ProcessBackend, parseBackend } from '../backend.js';
import { invalidArgument, shown } from '../errors.js';
import { binaryFolder, linuxBinding } from '../native/loader.js';
import type { SwitchOptions } from './environment.js';

/** The backend by its name, or by a configuration file, `malloc-backend.json`. */
export type BackendChoice =
  | { backend: ProcessBackend; config?: undefined }
  | {
      backend?: undefined;
      /** The configuration file. `preset`, `set` and `children` win over the file. */
      config: string;
    };

/** A backend and how it is set up. */
export interface Choice extends SwitchOptions {
  backend: MemoryAllocatorBackend;
}

/**
 * The backend and its options, from the options and the configuration file that they name.
 *
 * @throws {@link MallocBackendError} `ERR_UNKNOWN_BACKEND`; `ERR_CONFIG_INVALID`: the file cannot be read, has an unknown key
 * or a wrong value, or names a backend that is not there; `ERR_INVALID_ARGUMENT`: both name a backend
 */
export function chosen(options: SwitchOptions & { backend?: unknown; config?: unknown }): Choice {
  const { backend, config, preset, set, children } = options;
  const given = {
    ...(preset === undefined ? {} : { preset }),
    ...(children === undefined ? {} : { children }),
  };
  if (config === undefined)
    return { backend: parseBackend(backend), ...given, ...(set === undefined ? {} : { set }) };
  if (backend !== undefined) {
    throw invalidArgument(
      `the backend is named twice: backend is ${shown(backend)}, and config ${shown(config)} names one too; leave one of them out`,
    );
  }
  const file = readConfigFile(config);
  return { ...file, ...given, set: { ...file.set, ...set } };
}

/** What a configuration file says. */
export function readConfigFile(file: unknown): Choice {
  if (typeof file !== 'string' || file === '') {
    throw invalidArgument(`config must be a file's path, not ${shown(file)}`);
  }
  const { backend, preset, set, children } = linuxBinding().readConfigFile(resolve(file), binaryFolder());
  return {
    backend,
    ...(preset === undefined ? {} : { preset }),
    ...(children === undefined ? {} : { children }),
    set: Object.fromEntries(set.map(({ key, value }) => [key, value])),
  };
}
