import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { binaryFolder } from '../native/loader.js';
import { MallocBackendError } from '../errors.js';
import { become } from '../process/become.js';

/** Becomes the program of the platform's package, which needs no Node. */
export function main(args: string[]): never {
  const file = join(binaryFolder(), 'malloc-backend');
  try {
    become({ file, argv: ['malloc-backend', ...args] });
  } catch (error) {
    if (existsSync(file)) throw error;
    throw new MallocBackendError(
      'ERR_BINARY_MISSING',
      `the command ${file} does not exist; install the platform package again`,
    );
  }
}
