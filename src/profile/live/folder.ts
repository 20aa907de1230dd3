// Where the sockets are: in a folder into which no other user can look or write.

import { chmodSync, lstatSync, mkdirSync, realpathSync, type Stats } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { MallocBackendError } from '../../errors.js';

export const SOCKET_NAME = /^profile-\d+\.sock$/;

/** A unix socket's address has room for 107 bytes. The client finds the path below the process's root. */
const LONGEST = 107 - '/proc/4194304/root'.length;

/**
 * The path of this process's socket. Makes the folder above it.
 *
 * @throws {@link MallocBackendError} `ERR_PROFILE_SOCKET`
 */
export function socketPath(): string {
  const path = join(privateFolder(), `profile-${process.pid}.sock`);
  if (Buffer.byteLength(path) > LONGEST)
    throw refused(path, `its path is longer than ${LONGEST} bytes, so no client could reach the socket`);
  return path;
}

function privateFolder(): string {
  const user = process.geteuid!();
  const runtime = process.env['XDG_RUNTIME_DIR'];
  // After su(1) and sudo(8) the variable can be another user's.
  const isOwn = runtime !== undefined && isAbsolute(runtime) && statOf(runtime)?.uid === user;
  const [above, name] = isOwn ? [runtime, 'malloc-backend'] : [tmpdir(), `malloc-backend-${user}`];
  let real: string;
  try {
    real = realpathSync(above);
  } catch (cause) {
    throw refused(above, (cause as Error).message, cause);
  }
  for (let each = real; ; each = dirname(each)) {
    requireUnmovable(each, user);
    if (each === dirname(each)) break;
  }
  const folder = join(real, name);
  try {
    mkdirSync(folder, { mode: 0o700 });
    // The umask may have taken rights of our own away.
    chmodSync(folder, 0o700);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST')
      throw refused(folder, `it cannot be made (${(cause as Error).message})`, cause);
  }
  // Not where a link leads: another user may have made it.
  const stat = lstatSync(folder);
  if (!stat.isDirectory()) throw refused(folder, 'it is no folder');
  if (stat.uid !== user) throw refused(folder, `it belongs to user ${stat.uid}, and this process to ${user}`);
  if ((stat.mode & 0o077) !== 0) throw refused(folder, `its mode is ${modeOf(stat)}, and must be 700`);
  return folder;
}

/** Whoever may rename in a folder could put another folder in the place of ours. */
function requireUnmovable(folder: string, user: number): void {
  const stat = lstatSync(folder);
  if (stat.uid !== 0 && stat.uid !== user)
    throw refused(folder, `user ${stat.uid} owns it, and could replace what is in it`);
  if ((stat.mode & 0o022) !== 0 && (stat.mode & 0o1000) === 0)
    throw refused(folder, `its mode is ${modeOf(stat)}, so others could replace what is in it`);
}

const modeOf = ({ mode }: Stats): string => (mode & 0o7777).toString(8);

function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}

export function refused(path: string, why: string, cause?: unknown): MallocBackendError {
  return new MallocBackendError(
    'ERR_PROFILE_SOCKET',
    `cannot listen for a profiler at ${path}: ${why}. The folder above it can be another one: XDG_RUNTIME_DIR or TMPDIR names a folder of this user`,
    { cause },
  );
}
