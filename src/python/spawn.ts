import * as childProcess from 'node:child_process';
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MemoryAllocatorBackend, hookFile } from '../backend.js';
import { invalidArgument } from '../errors.js';
import { type OptionNames, namesOf, unknownOption } from '../options.js';
import { descriptors, proofOf, reportTo } from '../process/channel.js';
import type { SwitchOptions } from '../process/environment.js';
import { SPAWN_OPTIONS, contextOf } from '../process/spawn.js';
import {
  ALLOCATOR_CONFIG,
  type PythonAllocatorConfig,
  type PythonConfig,
  parsePythonConfig,
} from './config.js';
import { hookVariables, hookedEnvironment, preparePython } from './environment.js';
import {
  type NativeReport,
  type PythonCounters,
  type PythonReport,
  FIGURES,
  describeCounters,
  describeReport,
} from './report.js';

/** The proof of a Python child. */
export interface PythonProof extends PythonReport {
  pid: number;
  /** The preloaded hook's file. */
  library: string;
  /** The file whose `malloc` the process uses. */
  owner: string;
}

/** A Python child that reports the backend of its domains. */
export interface PythonChild extends ChildProcess {
  /**
   * Resolves before the interpreter's `main`, with the tables that the hook read back from the interpreter. Rejects with
   * a {@link MallocBackendError} `ERR_NOT_APPLIED` and the reason if the domains are not on the backend. Then the program
   * did not start. An unhandled rejection ends the process, as usual.
   */
  readonly applied: Promise<PythonProof>;
  /**
   * The current counters, or the last ones after the child's end. Undefined without the option `counters`. The counters
   * do not include children that the interpreter forks.
   */
  pythonCounters(): PythonCounters | undefined;
}

/** The options of `child_process.spawn`, and the options for the interpreter. */
export interface SpawnPythonOptions
  extends Omit<SpawnOptions, 'shell'>, PythonAllocatorConfig, SwitchOptions {
  /** The interpreter: a path, or a name in PATH. Default: `python3`. */
  python?: string;
  /** The backend of the whole process, as `spawn` sets it. Default: the process keeps its `malloc`. */
  malloc?: MemoryAllocatorBackend;
  /**
   * The file for a heap profile, which Python writes when it ends. `%p` stands for the process id. The variables
   * `MALLOC_BACKEND_PROFILE_INTERVAL` and `MALLOC_BACKEND_PROFILE_SIGNAL` in `env` work as for Node (docs/profile.md). Only
   * on Linux on x64. Default: no profile.
   */
  profile?: string;
}

/**
 * Starts Python with its domains on the backend, as `child_process.spawn` starts a program. The arguments are
 * Python's own: `['script.py', …]`, `['-m', 'module']`, `['-c', 'code']`.
 *
 * `preset` and `set` tune the backend of `malloc`, or without `malloc` the backend of the domains. With
 * `children: 'none'`, the programs that Python starts have neither the domains nor `malloc`.
 *
 * If an option or the environment is wrong, the function throws and starts no process.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`, `ERR_PYTHON_CONFIG`, `ERR_PYTHON_ENVIRONMENT`, and
 * the errors of {@link spawn}
 */
export function spawnPython(args: readonly string[], options: SpawnPythonOptions = {}): PythonChild {
  if (!Array.isArray(args)) {
    throw invalidArgument('the arguments for Python must be an array of strings');
  }
  const config = parsePythonConfig(options);
  refuseIgnored(options);
  const { python = 'python3' } = options;
  const given = options.env ?? process.env;
  const env = hookedEnvironment(config, args as string[], { ...options, env: given });
  const context = contextOf(options, env);
  const { file, argv } = preparePython(python, args as string[], { ...context, malloc: options.malloc });
  const stdio = descriptors(options.stdio ?? 'pipe');
  const memory = config.counters ? sharedMemory() : undefined;
  const seen = stdio.length;
  env[hookVariables.report] = reportTo(stdio.push('pipe') - 1);
  if (memory !== undefined) {
    const { dev, ino } = fstatSync(memory, { bigint: true });
    env[hookVariables.counters] = `${stdio.push(memory) - 1}:${dev}:${ino}`;
  }
  const [called = python, ...rest] = argv;
  const { argv0 = called } = options;
  try {
    const child = childProcess.spawn(file, rest, { ...options, argv0, env, stdio });
    return prove(child, config, args as string[], seen, memory);
  } catch (error) {
    if (memory !== undefined) closeSync(memory);
    throw error;
  }
}

const OWN = namesOf<PythonAllocatorConfig & { malloc: unknown; profile: unknown; python: unknown }>({
  ...ALLOCATOR_CONFIG,
  malloc: true,
  profile: true,
  python: true,
});
const KNOWN: OptionNames = new Set([
  ...OWN,
  ...[...SPAWN_OPTIONS].filter((name) => name !== 'backend' && name !== 'config'),
]);

/** Throws for an option that child_process would ignore. */
function refuseIgnored(options: object): void {
  const misspelt = Object.keys(options).find((name) => !KNOWN.has(name));
  if (misspelt !== undefined) throw unknownOption(misspelt, KNOWN);
  const { shell = false } = options as { shell?: unknown };
  if (shell === false) return;
  throw invalidArgument(
    'spawnPython does not use a shell, so it cannot split the arguments; pass each argument separately',
  );
}

/** Whether a Python's command line ends with these arguments. A launcher passes them on to the Python that it starts. */
function isGiven(args: readonly string[], called: string): boolean {
  const words = called.split('\0').slice(1, -1);
  // Without arguments, Python reads the program from standard input. Then only options may be on the command line.
  if (args.length === 0) return words.every((word) => /^-[^cm-]*$/.test(word));
  return words.slice(-args.length).join('\0') === args.join('\0');
}

/** Opens an unnamed file. The hook maps it, so this process can read the counters while the child runs. */
function sharedMemory(): number {
  const file = join(tmpdir(), `malloc-backend-${randomUUID()}`);
  const fd = openSync(file, 'wx+', 0o600);
  unlinkSync(file);
  ftruncateSync(fd, 4 * FIGURES * BigUint64Array.BYTES_PER_ELEMENT);
  return fd;
}

function readCounters(fd: number): PythonCounters {
  const figures = new BigUint64Array(4 * FIGURES);
  readSync(fd, figures, 0, figures.byteLength, 0);
  const numbers = Array.from(figures, Number);
  return describeCounters(
    [0, 1, 2, 3].map((domain) => numbers.slice(domain * FIGURES, (domain + 1) * FIGURES)),
  );
}

/** A line from the channel: each program on the way to Python writes one line, and so does Python. */
type Line =
  | (NativeReport & { pid: number; library: string; malloc: string; arguments: string })
  | { error: string }
  | { notPython: string };

/** Returns undefined for text that is not a line of the hook: a launcher may write to any descriptor. */
function parseLine(text: string): Line | undefined {
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof said !== 'object' || said === null) return undefined;
  const has = (name: string, type: string) => typeof (said as Record<string, unknown>)[name] === type;
  const isReport =
    has('pid', 'number') &&
    ['version', 'executable', 'backend', 'library', 'malloc', 'arguments'].every((name) =>
      has(name, 'string'),
    ) &&
    Array.isArray((said as Partial<NativeReport>).domains);
  return isReport || has('error', 'string') || has('notPython', 'string') ? (said as Line) : undefined;
}

function prove(
  child: ChildProcess,
  config: PythonConfig,
  args: readonly string[],
  seen: number,
  memory: number | undefined,
): PythonChild {
  let last: PythonCounters | undefined;
  let open = memory !== undefined;
  const finish = () => {
    if (memory === undefined || !open) return;
    last = readCounters(memory);
    open = false;
    closeSync(memory);
  };
  child.once('exit', finish);
  const { backend } = config;
  const applied = proofOf<PythonProof>(
    child,
    seen,
    { backend, library: hookFile() },
    ({ resolve, fail, miss }) => {
      let rest = '';
      let other: string | undefined;
      // The process of a Python that a launcher started only to ask for information.
      let asked: number | undefined;
      const hear = (line: Line) => {
        if ('error' in line) fail(line.error);
        else if ('notPython' in line) other = line.notPython;
        else {
          const { pid, library, malloc, arguments: called } = line;
          if (pid === child.pid || isGiven(args, called)) {
            resolve({ pid, ...describeReport(line), library, owner: malloc });
          } else asked = pid;
        }
      };
      return {
        data: (chunk) => {
          const lines = (rest + chunk).split('\n');
          rest = lines.pop() ?? '';
          for (const line of lines.map(parseLine)) if (line !== undefined) hear(line);
        },
        end: () =>
          miss(
            asked !== undefined
              ? `the last Python that reported, process ${asked}, did not get these arguments`
              : other !== undefined
                ? `${other} is not CPython, or does not export CPython's interface; it started no Python, or it closed file ` +
                  `descriptor ${seen}, through which a Python reports`
                : 'the preloaded hook did not report; the dynamic loader may have ignored it',
          ),
        lost: finish,
      };
    },
  );
  return Object.assign(child, {
    applied,
    pythonCounters: () => (memory !== undefined && open ? readCounters(memory) : last),
  });
}
