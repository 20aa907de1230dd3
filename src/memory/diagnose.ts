import type { Diagnosis } from '../native/binding.js';
import { linuxBinding } from '../native/loader.js';
import { requireProcessId } from '../process/owner.js';
import { ownV8 } from './own.js';

export type {
  CgroupUsage,
  Diagnosis,
  DiagnosisNote,
  DiagnosisVerdict,
  GlibcHeap,
  HugePages,
  NoteCode,
  VerdictCode,
} from '../native/binding.js';

/**
 * Tells where a process's memory is, whether its allocator is the reason, and one command to try. The process does not have
 * to be prepared, and is never stopped: glibc's free memory is read from outside.
 *
 * It runs on a thread of libuv's pool, and takes up to a second per GiB of glibc's heaps. docs/doctor.md has the figures.
 *
 * @param pid - Default: this process. Its allocator's statistics, and its array buffers, are known only for this one.
 * @throws {@link MallocBackendError} (the promise rejects) as {@link activeBackend}. If only the right to read the memory
 * is missing, the diagnosis has the note `heap-unreadable`, which names the right.
 */
export async function diagnose(pid: number = process.pid): Promise<Diagnosis> {
  const native = linuxBinding('the diagnosis of memory');
  requireProcessId(pid);
  return native.diagnose(pid, pid === process.pid ? ownV8() : undefined);
}
