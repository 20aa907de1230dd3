// What the tests start with malloc-backend/register: it says what it is.

import { readFileSync } from 'node:fs';
import { Worker, isMainThread } from 'node:worker_threads';

/** The preloaded library of a process, by its name. */
const library = (pid: number | 'self') =>
  /libmalloc_backend_[a-z]+/.exec(readFileSync(`/proc/${pid}/maps`, 'utf8'))?.[0] ?? 'none';

export const state = () => ({
  pid: process.pid,
  library: library('self'),
  argv: process.argv,
  argv0: process.argv0,
  execArgv: process.execArgv,
  execPath: process.execPath,
  cwd: process.cwd(),
  preload: process.env['LD_PRELOAD'],
});

if (!isMainThread) {
  // A worker that started Node again would have ended all of it.
} else if (process.argv[2] === 'workers') {
  const ends = [1, 2, 3].map(
    () => new Promise<number>((resolve) => new Worker(new URL(import.meta.url)).once('exit', resolve)),
  );
  console.log(JSON.stringify({ ...state(), workers: await Promise.all(ends) }));
} else {
  console.log(JSON.stringify(state()));
}
