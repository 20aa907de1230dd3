// Files that are whole or not there: another one is written beside the old one and takes its place.

import {
  closeSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { MallocBackendError } from '../errors.js';

/** The file that a path names, through links, so that the link stays. */
function target(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** Whether the path names a device or pipe: it cannot be replaced, and is written to as it is. */
function isSpecial(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isDirectory()) throw Object.assign(new Error('it is a directory'), { code: 'EISDIR' });
  return stat !== undefined && !stat.isFile();
}

/**
 * Writes the text or the bytes to the file. If that fails, the file is as it was.
 *
 * @throws {@link MallocBackendError} `ERR_EXPORT_FAILED`
 */
export function replaceFile(path: string, text: string | Uint8Array): void {
  attempt(path, () => {
    if (isSpecial(path)) return write(path, 'w', text);
    const file = target(path);
    const next = `${file}.${process.pid}.tmp`;
    try {
      write(next, 'w', text);
      renameSync(next, file);
    } catch (error) {
      rmSync(next, { force: true });
      throw error;
    }
  });
}

/** As much as the first results need. */
const PROBE = ' '.repeat(64 * 1024);

/**
 * Makes sure that the file can be written, before hours of measuring.
 *
 * @throws {@link MallocBackendError} `ERR_EXPORT_FAILED`
 */
export function checkWritable(path: string): void {
  attempt(path, () => {
    // What is written to a device or a pipe stays written.
    if (isSpecial(path)) return closeSync(openSync(path, 'a'));
    const file = target(path);
    const next = `${file}.${process.pid}.tmp`;
    try {
      write(next, 'wx', PROBE);
    } finally {
      rmSync(next, { force: true });
    }
  });
}

function write(file: string, flags: string, text: string | Uint8Array): void {
  const fd = openSync(file, flags);
  try {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text;
    for (let written = 0; written < bytes.length;) written += writeSync(fd, bytes, written);
    // Some file systems tell only now that they are full. A pipe has nothing to wait for.
    if (flags !== 'a' && statSync(file).isFile()) fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function attempt(path: string, act: () => void): void {
  try {
    act();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why =
      code === 'ENOSPC' || code === 'EDQUOT'
        ? 'no space is left on the disk; free some, or choose a file on another disk'
        : message;
    throw new MallocBackendError('ERR_EXPORT_FAILED', `cannot write ${path}: ${why}`, { cause });
  }
}
