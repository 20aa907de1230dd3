// Tells a program that is stuck from one that a loaded machine is slow with: by the processor time that it uses, and
// never by the clock.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeSync } from 'node:fs';

/** Milliseconds between two looks. A test that does not get to run itself does not look either. */
const INTERVAL = 2_000;
/** In a look's time a program that waits uses less than so many ticks of the processor; an allocator's thread wakes. */
const AWAKE = 2;
/** Where there is no /proc nothing is ever seen to happen (macOS, Windows, wine): then so many times the looks are too long. */
const BLIND = 10;
/** Ticks in a second, of any Linux that Node runs on (sysconf(3), `_SC_CLK_TCK`). */
const TICKS = 100;

/** How long is too long. */
export interface Patience {
  /** Looks in a row at which nothing has happened. Default: 60, two minutes at least. */
  looks?: number;
  /** Seconds of processor time without a sign of life. Default: 600. */
  processor?: number;
}

export interface Watch {
  /** There was a sign of life: all begins anew. */
  alive(): void;
  stop(): void;
}

interface Process {
  pid: number;
  parent: number;
  group: number;
  /** Processor time that it and its ended children have used. */
  ticks: number;
}

/** proc_pid_stat(5). */
function stat(pid: string): Process | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined; // it has ended
  }
  // Behind the name, which may contain anything.
  const fields = text.slice(text.lastIndexOf(') ') + 2).split(' ');
  const number = (nth: number): number => Number(fields[nth - 3]);
  return {
    pid: Number(pid),
    parent: number(4),
    group: number(5),
    ticks: number(14) + number(15) + number(16) + number(17),
  };
}

function processes(): Process[] {
  try {
    return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? (stat(name) ?? []) : []));
  } catch {
    return []; // there is no /proc
  }
}

/** A process and those below it, and those of its group, which stay when their parent ends. */
export function family(root: number): Process[] {
  const all = processes();
  const found = new Set([root]);
  for (let before = 0; found.size > before;) {
    before = found.size;
    for (const { pid, parent, group } of all) if (found.has(parent) || group === root) found.add(pid);
  }
  return all.filter(({ pid }) => found.has(pid));
}

/** What this process has started, and they. */
export function children(): Process[] {
  return family(process.pid).filter(({ pid }) => pid !== process.pid);
}

/**
 * Looks at what `seen` finds, again and again, and calls `stuck` once, with the reason, when it has been without
 * progress for too long. Keeps no process alive.
 */
export function watch(
  seen: () => Process[],
  stuck: (why: string) => void,
  { looks = 60, processor = 600 }: Patience = {},
): Watch {
  const enough = looks * (existsSync('/proc/self/stat') ? 1 : BLIND);
  let idle = 0;
  let used = 0;
  let last = new Map<number, number>();
  const timer = setInterval(() => {
    const now = new Map(seen().map(({ pid, ticks }) => [pid, ticks]));
    let ticks = 0;
    let changed = last.size > now.size;
    for (const [pid, at] of now) {
      const before = last.get(pid);
      if (before === undefined) changed = true;
      else ticks += Math.max(0, at - before);
    }
    last = now;
    used += ticks;
    idle = changed || ticks >= AWAKE ? 0 : idle + 1;
    const why =
      idle >= enough
        ? `nothing has happened at ${enough} looks, one every ${INTERVAL / 1000} s`
        : used >= processor * TICKS
          ? `it has used ${processor} s of processor time without a sign of life`
          : undefined;
    if (why === undefined) return;
    clearInterval(timer);
    stuck(why);
  }, INTERVAL);
  timer.unref();
  return {
    alive() {
      idle = 0;
      used = 0;
    },
    stop: () => clearInterval(timer),
  };
}

/** Looks again and again until it holds. It never will once what this process has started makes no progress. */
export async function until<Value>(
  what: string,
  look: () => Value | undefined | false | Promise<Value | undefined | false>,
): Promise<Value> {
  let vain: string | undefined;
  const watchdog = watch(children, (why) => (vain = why), { looks: 30 });
  try {
    for (;;) {
      const value = await look();
      if (value !== undefined && value !== false) return value;
      if (vain !== undefined) throw new Error(`in vain waited for ${what}: ${vain}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  } finally {
    watchdog.stop();
  }
}

/** Where the threads of a process stand: by gdb where there is one, else by the kernel's word. */
export function whereabouts(pid: number): string {
  const gdb = spawnSync('gdb', ['-p', `${pid}`, '-batch', '-ex', 'thread apply all bt 16'], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  if (gdb.status === 0) return gdb.stdout.replace(/^(warning|\[New|Reading|0x.*in \?\?).*\n/gm, '');
  try {
    return readdirSync(`/proc/${pid}/task`)
      .map((task) => `${task}: ${readFileSync(`/proc/${pid}/task/${task}/wchan`, 'utf8')}`)
      .join('\n');
  } catch (error) {
    return `(no gdb, and ${String(error)})`;
  }
}

/**
 * Ends this process, and what it has started, when none of them makes progress: a test that waits for what never comes
 * has no time limit of its own.
 *
 * @param name - Names what is stuck.
 */
export function endWhenStuck(name: () => string): void {
  // The process ends before a stream would be written.
  const say = (text: string) => writeSync(2, `${text}\n`);
  watch(
    () => family(process.pid),
    (why) => {
      say(`${name()} is stuck: ${why}`);
      for (const { pid } of children()) {
        say(`process ${pid}:\n${whereabouts(pid)}`);
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It has ended.
        }
      }
      // In a vitest worker process.exit() only throws.
      process.kill(process.pid, 'SIGKILL');
    },
    { looks: 150, processor: Infinity },
  );
}
