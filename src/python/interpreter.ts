import { constants } from 'node:buffer';
import { isMainThread } from 'node:worker_threads';
import { join } from 'node:path';
import { MallocBackendError, shown } from '../errors.js';
import type { PythonJob, PythonOutcome } from '../native/binding.js';
import { linuxBinding } from '../native/loader.js';
import { namesOf, requireOptions } from '../options.js';
import { activeBackend } from '../process/owner.js';
import {
  ALLOCATOR_CONFIG,
  type PythonAllocatorConfig,
  parsePythonConfig,
  withoutOverride,
} from './config.js';
import { locatePython } from './locate.js';
import { type PythonCounters, type PythonReport, describeCounters, describeReport } from './report.js';
import { type PythonArgument, type PythonValue, isPlain, toPython } from './value.js';

/** How the interpreter is found and set up. */
export interface PythonInterpreterOptions extends PythonAllocatorConfig {
  /**
   * The interpreter whose shared library is loaded: a path, or a name in PATH. Default: that which was installed with
   * `libpython`, if that is given, and else `python3`.
   */
  python?: string;
  /** The shared library itself. Default: that of `python`. */
  libpython?: string;
  /** The folder of a virtual environment; its `bin/python3` is the interpreter. */
  venv?: string;
  /** As `python -I`: neither `PYTHON*` variables nor the user's site-packages. Default: false. */
  isolated?: boolean;
  /**
   * Whether libpython and its extension modules look for what they need in their own libraries before they ask Node,
   * which exports OpenSSL and zlib (`RTLD_DEEPBIND`). Only where libc owns `malloc`. Default: false.
   */
  deepBind?: boolean;
  /**
   * Variables to set in this process before Python reads them, as it starts; they stay. On the main thread only. They are
   * among the options that a second start must have the same.
   */
  env?: Readonly<Record<string, string>>;
}

const OPTIONS = namesOf<PythonInterpreterOptions>({
  ...ALLOCATOR_CONFIG,
  python: true,
  libpython: true,
  venv: true,
  isolated: true,
  deepBind: true,
  env: true,
});

/** How a call is to be waited for. */
export interface PythonCallOptions {
  /** Stops waiting, and raises `KeyboardInterrupt` in the interpreter's thread if the call runs there. */
  signal?: AbortSignal;
  /** Whether a result that has no equivalent in JavaScript comes as its `repr`. Default: false. */
  repr?: boolean;
}

const CALL_OPTIONS = namesOf<PythonCallOptions>({ signal: true, repr: true });

/** The interpreter, as read back from it. */
export interface PythonInfo extends PythonReport {
  /** The shared library's file. */
  libpython: string;
}

/** An exception of Python's. The `message` begins with its type. */
export class PythonError extends MallocBackendError {
  /** The exception's class, with its module unless that is `builtins` or `__main__`. */
  readonly type: string;
  /** The traceback, as Python prints it. */
  readonly traceback: string;

  constructor(type: string, message: string, traceback: string) {
    super('ERR_PYTHON_EXCEPTION', message === '' ? type : `${type}: ${message}`);
    this.type = type;
    this.traceback = traceback;
  }
}

interface Pending {
  resolve(value: PythonValue): void;
  reject(error: unknown): void;
}

let lastStart: Promise<unknown> = Promise.resolve();
let running: { interpreter: PythonInterpreter; key: string } | undefined;

/**
 * CPython in this process, on a thread of its own, for as long as the process lives. There is one, which all threads of
 * Node share; every thread starts it for itself.
 *
 * What is asked of it is done in order. What it prints is written when the process exits, if not before.
 */
export class PythonInterpreter {
  readonly #pending = new Map<number, Pending>();
  readonly #native = linuxBinding();
  readonly #port = new this.#native.PythonPort((outcomes) => this.#settle(outcomes), constants.MAX_LENGTH);

  private constructor() {}

  /**
   * Starts the interpreter, or gives the one that runs if it was started with the same options.
   *
   * @throws {@link MallocBackendError} (by rejection) `ERR_INVALID_ARGUMENT`, `ERR_UNKNOWN_BACKEND`,
   * `ERR_PYTHON_CONFIG`, `ERR_PYTHON_ENVIRONMENT`, `ERR_PYTHON_UNSUPPORTED` (not CPython, older than 3.8, or a
   * free-threaded build with other domains than `raw`), `ERR_PROGRAM_NOT_FOUND`, `ERR_LIBPYTHON_NOT_FOUND`,
   * `ERR_PYTHON_RUNNING` (with other options), `ERR_PYTHON_START`, `ERR_BACKEND_UNAVAILABLE`
   */
  static start(options: PythonInterpreterOptions = {}): Promise<PythonInterpreter> {
    // One after another: what one sets in the environment is not for the next to see.
    const turn = lastStart.then(() => PythonInterpreter.#start(options));
    lastStart = turn.catch(() => {});
    return turn;
  }

  static async #start(options: PythonInterpreterOptions): Promise<PythonInterpreter> {
    const config = parsePythonConfig(options);
    requireOptions(options, OPTIONS);
    const native = linuxBinding();
    const { isolated = false, deepBind = false } = options;
    for (const [name, value] of Object.entries({ isolated, deepBind })) {
      if (typeof value === 'boolean') continue;
      throw new MallocBackendError(
        'ERR_INVALID_ARGUMENT',
        `${name} must be true or false, not ${shown(value)}`,
      );
    }
    if (options.venv !== undefined && typeof options.venv !== 'string') {
      throw new MallocBackendError('ERR_INVALID_ARGUMENT', `venv must be a path, not ${shown(options.venv)}`);
    }
    if (deepBind) refuseDeepBind();
    const own = ownVariables(options.env);
    const wanted = { ...process.env, ...own };
    const env = isolated ? wanted : withoutOverride(wanted, config);
    const { venv, python = venv === undefined ? undefined : join(venv, 'bin', 'python3') } = options;
    const located = await locatePython(python, options.libpython, config, env, isolated);
    const start = {
      ...located,
      isolated,
      deepBind,
      env: Object.keys(own)
        .sort()
        .map((name) => `${name}=${own[name]}`),
      config: config.encoded,
    };
    // Where one runs, nothing is set: it is the same, or an error.
    const undo = native.pythonInfo() === null ? changeEnvironment(env) : () => {};
    try {
      await native.pythonStart(start);
    } catch (error) {
      undo();
      throw error;
    }
    const key = JSON.stringify(start);
    if (running?.key !== key) running = { interpreter: new PythonInterpreter(), key };
    return running.interpreter;
  }

  /** Runs statements in `__main__`. */
  async exec(code: string, options: PythonCallOptions = {}): Promise<void> {
    await this.#submit('exec', 'code', code, [], undefined, options);
  }

  /** The value of an expression in `__main__`. */
  eval(expression: string, options: PythonCallOptions = {}): Promise<PythonValue> {
    return this.#submit('eval', 'expression', expression, [], undefined, options);
  }

  /**
   * Calls a function: `'math.sqrt'`, `'package.module.Class.method'`, or a bare name, which is looked for in `__main__`
   * and among the builtins. Modules are imported as needed.
   */
  call(
    name: string,
    args: readonly PythonArgument[] = [],
    kwargs: Readonly<Record<string, PythonArgument>> = {},
    options: PythonCallOptions = {},
  ): Promise<PythonValue> {
    return this.#submit('call', 'name', name, args, kwargs, options);
  }

  /** Who serves each domain, read back from the interpreter now. */
  info(): PythonInfo {
    const info = this.#native.pythonInfo();
    if (info === null) throw notRunning();
    return { ...describeReport(info), libpython: info.libpython };
  }

  /** What went through the domains; undefined unless `counters` was asked for. */
  stats(): PythonCounters | undefined {
    const counters = this.#native.pythonInfo()?.counters;
    return counters === undefined ? undefined : describeCounters(counters);
  }

  async #submit(
    job: PythonJob,
    what: string,
    text: unknown,
    args: readonly unknown[],
    kwargs: unknown,
    options: PythonCallOptions,
  ): Promise<PythonValue> {
    const { signal, repr } = checkedOptions(options);
    if (typeof text !== 'string' || !isWellFormed(text)) {
      throw new MallocBackendError(
        'ERR_INVALID_ARGUMENT',
        typeof text === 'string'
          ? `the ${what} has half of a surrogate pair in it, which no Python source can have; write it as an escape`
          : `the ${what} must be a string, not ${shown(text)}`,
      );
    }
    if (!Array.isArray(args)) {
      throw new MallocBackendError(
        'ERR_INVALID_ARGUMENT',
        `the arguments must be an array, not ${shown(args)}`,
      );
    }
    if (kwargs !== undefined && !isPlain(kwargs)) {
      throw new MallocBackendError(
        'ERR_INVALID_ARGUMENT',
        `the keyword arguments must be a plain object, not ${shown(kwargs)}`,
      );
    }
    if (signal?.aborted === true) throw aborted(signal);
    const positional = Array.from(args, (value, index) => toPython(value, 'argument', index));
    const isEmpty = kwargs === undefined || Object.keys(kwargs).length === 0;
    const named = isEmpty ? undefined : toPython(kwargs, 'the keyword arguments');
    const number = this.#port.submit(job, text, positional, named, repr);
    if (number === null) throw notRunning();
    if (this.#pending.size === 0) this.#port.hold(true);
    const outcome = new Promise<PythonValue>((resolve, reject) =>
      this.#pending.set(number, { resolve, reject }),
    );
    if (signal === undefined) return outcome;
    const abort = () => {
      this.#native.pythonInterrupt(number);
      this.#take(number)?.reject(aborted(signal));
    };
    signal.addEventListener('abort', abort, { once: true });
    return outcome.finally(() => signal.removeEventListener('abort', abort));
  }

  #take(number: number): Pending | undefined {
    const pending = this.#pending.get(number);
    if (this.#pending.delete(number) && this.#pending.size === 0) this.#port.hold(false);
    return pending;
  }

  #settle(outcomes: readonly PythonOutcome[]): void {
    for (const outcome of outcomes) {
      const pending = this.#take(outcome.number);
      if (outcome.value === undefined) pending?.reject(failure(outcome));
      else pending?.resolve(outcome.value);
    }
  }
}

/** Before anything is submitted: an error is not to leave a job behind that nobody waits for. */
function checkedOptions(options: unknown): { signal: AbortSignal | undefined; repr: boolean } {
  const refuse = (what: string, value: unknown) =>
    new MallocBackendError('ERR_INVALID_ARGUMENT', `${what}, not ${shown(value)}`);
  requireOptions(options, CALL_OPTIONS);
  const { signal, repr = false } = options as { signal?: unknown; repr?: unknown };
  if (typeof repr !== 'boolean') throw refuse('repr must be true or false', repr);
  // Also one of another realm.
  if (signal !== undefined && !(signal instanceof EventTarget && 'aborted' in signal)) {
    throw refuse('signal must be an AbortSignal', signal);
  }
  return { signal: signal as AbortSignal | undefined, repr };
}

/** In Node 20, and not yet in the declarations of es2023. */
const isWellFormed = (text: string): boolean => (text as string & { isWellFormed(): boolean }).isWellFormed();

function failure({ exception, noEquivalent }: PythonOutcome): Error {
  if (exception !== undefined) return new PythonError(...exception);
  if (noEquivalent !== undefined) {
    return new MallocBackendError(
      'ERR_PYTHON_VALUE',
      `the result is or contains ${noEquivalent}, which JavaScript has no equivalent for; convert it in Python, ` +
        'or ask for its repr by { repr: true }',
    );
  }
  return new MallocBackendError('ERR_ABORTED', 'the call was called off before it began');
}

function notRunning(): MallocBackendError {
  return new MallocBackendError('ERR_PYTHON_START', 'no interpreter runs in this process');
}

function aborted(signal: AbortSignal): MallocBackendError {
  return new MallocBackendError('ERR_ABORTED', 'the call was aborted by its signal', {
    cause: signal.reason,
  });
}

/** libpython would free by libc what libc itself got from the allocator in its place. */
function refuseDeepBind(): void {
  const { kind, owner } = activeBackend();
  if (kind === 'libc') return;
  throw new MallocBackendError(
    'ERR_PYTHON_CONFIG',
    `deepBind needs libc's malloc, and this process's is that of ${owner}: memory of the one would be freed by the ` +
      'other; leave deepBind or the preload away',
  );
}

/** Those to be set. */
function ownVariables(env: unknown = {}): Record<string, string> {
  const entries = typeof env === 'object' && env !== null ? Object.entries(env) : undefined;
  const isVariable = ([name, value]: [string, unknown]) =>
    name !== '' && !/[=\0]/.test(name) && typeof value === 'string' && !value.includes('\0');
  if (entries?.every(isVariable) !== true) {
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      `env must be an object of strings that can be variables, not ${shown(env)}`,
    );
  }
  return Object.fromEntries(entries) as Record<string, string>;
}

/** Makes this process's environment that one. What it gives takes that back. */
function changeEnvironment(wanted: NodeJS.ProcessEnv): () => void {
  const before = { ...process.env };
  const names = Object.keys({ ...before, ...wanted }).filter((name) => before[name] !== wanted[name]);
  const give = (values: NodeJS.ProcessEnv) => {
    for (const name of names) {
      const value = values[name];
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
  if (names.length > 0) requireMainThread(names.join(' and '));
  give(wanted);
  return () => give(before);
}

function requireMainThread(what: string): void {
  if (isMainThread) return;
  throw new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    `to change ${what} would change the environment of the process, which a worker has only a copy of; start on the ` +
      'main thread',
  );
}
