import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { binaryFolder, linuxBinding } from '../binding.js';
import { MallocBackendError } from '../errors.js';
import { become } from '../process/become.js';

/** Becomes the program of the platform's package, which needs no Node. */
export function main(args: string[]): never {
  try {
    linuxBinding();
    const file = join(binaryFolder(), 'malloc-backend');
    if (existsSync(file)) return become({ file, argv: ['malloc-backend', ...args] });
    throw new MallocBackendError(
      'ERR_BINARY_MISSING',
      `the command ${file} does not exist; install the platform package again`,
    );
  } catch (error) {
    // `eval "$(…)" && …` does not see this command's status; it sees that of what is printed.
    if (args[0] === 'env' && !args.join(' ').match(/--format[ =](docker|systemd|json)\b/))
      console.log('false');
    throw error;
  }
}
