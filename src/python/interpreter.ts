import { constants } from 'node:buffer';
import { isMainThread } from 'node:worker_threads';
import { join } from 'node:path';
import { invalidArgument, MallocBackendError, shown } from '../errors.js';
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

/** Options of `PythonInterpreter.start()`. */
export interface PythonInterpreterOptions extends PythonAllocatorConfig {
  /**
   * The interpreter whose shared library is loaded: a path, or a name in PATH. Default: the interpreter that belongs to
   * `libpython`, if you set `libpython`, and otherwise `python3`.
   */
  python?: string;
  /** The file of the shared library. Default: the shared library of `python`. */
  libpython?: string;
  /** The folder of a virtual environment. Its `bin/python3` is the interpreter. */
  venv?: string;
  /** Ignores `PYTHON*` variables and the user's site-packages, as `python -I` does. Default: false. */
  isolated?: boolean;
  /**
   * Loads libpython with `RTLD_DEEPBIND`. libpython and its extension modules then use their own libraries, and not the
   * OpenSSL and zlib that Node exports. Only possible if libc owns the process's `malloc`. Default: false.
   */
  deepBind?: boolean;
  /**
   * Variables that are set in this process before Python starts, and stay set. Only possible on the main thread. A second
   * start must pass the same variables.
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

/** Options of a call into Python. */
export interface PythonCallOptions {
  /** An abort rejects the promise. If the call runs, Python also gets `KeyboardInterrupt`. */
  signal?: AbortSignal;
  /**
   * Returns the `repr` of a result that has no equivalent in JavaScript. Otherwise such a result is an error. Default:
   * false.
   */
  repr?: boolean;
}

const CALL_OPTIONS = namesOf<PythonCallOptions>({ signal: true, repr: true });

/** The report of the interpreter in this process. */
export interface PythonInfo extends PythonReport {
  /** The shared library's file. */
  libpython: string;
}

/** An exception that Python raised. The `message` begins with its type. */
export class PythonError extends MallocBackendError {
  /** The exception's class, with its module unless the module is `builtins` or `__main__`. */
  readonly type: string;
  /** The traceback in the form in which Python prints it. */
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
 * CPython in this process. It runs on its own thread until the process ends. A process has one interpreter, which all
 * threads of Node share. Each thread of Node must call `start()`.
 *
 * The interpreter executes calls in order. Python's buffered output appears when the process exits, if not before.
 */
export class PythonInterpreter {
  readonly #pending = new Map<number, Pending>();
  readonly #native = linuxBinding();
  readonly #port = new this.#native.PythonPort((outcomes) => this.#settle(outcomes), constants.MAX_LENGTH);

  private constructor() {}

  /**
   * Starts the interpreter. If an interpreter with the same options runs, returns this interpreter.
   *
   * @throws {@link MallocBackendError} (by rejection) `ERR_INVALID_ARGUMENT`, `ERR_UNKNOWN_BACKEND`,
   * `ERR_PYTHON_CONFIG`, `ERR_PYTHON_ENVIRONMENT`, `ERR_PYTHON_UNSUPPORTED` (not CPython, older than 3.8, or a
   * free-threaded build with other domains than `raw`), `ERR_PROGRAM_NOT_FOUND`, `ERR_LIBPYTHON_NOT_FOUND`,
   * `ERR_PYTHON_RUNNING` (with other options), `ERR_PYTHON_START`, `ERR_BACKEND_UNAVAILABLE`
   */
  static start(options: PythonInterpreterOptions = {}): Promise<PythonInterpreter> {
    // One start after another, so that a start does not see the variables of another start.
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
      throw invalidArgument(`${name} must be true or false, not ${shown(value)}`);
    }
    if (options.venv !== undefined && typeof options.venv !== 'string') {
      throw invalidArgument(`venv must be a path, not ${shown(options.venv)}`);
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
    // If an interpreter runs, change no variable: this start returns the same interpreter, or fails.
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

  /** Executes statements in `__main__`. */
  async exec(code: string, options: PythonCallOptions = {}): Promise<void> {
    await this.#submit('exec', 'code', code, [], undefined, options);
  }

  /** Evaluates an expression in `__main__`. */
  eval(expression: string, options: PythonCallOptions = {}): Promise<PythonValue> {
    return this.#submit('eval', 'expression', expression, [], undefined, options);
  }

  /**
   * Calls a function, for example `'math.sqrt'` or `'package.module.Class.method'`. A name without a dot is searched in
   * `__main__` and in the builtins. Modules are imported as needed.
   */
  call(
    name: string,
    args: readonly PythonArgument[] = [],
    kwargs: Readonly<Record<string, PythonArgument>> = {},
    options: PythonCallOptions = {},
  ): Promise<PythonValue> {
    return this.#submit('call', 'name', name, args, kwargs, options);
  }

  /** Reads the tables of the interpreter and returns the backend of each domain. */
  info(): PythonInfo {
    const info = this.#native.pythonInfo();
    if (info === null) throw notRunning();
    return { ...describeReport(info), libpython: info.libpython };
  }

  /** The counters of the domains. Undefined without the option `counters`. */
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
      throw invalidArgument(
        typeof text === 'string'
          ? `the ${what} has half of a surrogate pair in it, which no Python source can have; write it as an escape`
          : `the ${what} must be a string, not ${shown(text)}`,
      );
    }
    if (!Array.isArray(args)) {
      throw invalidArgument(`the arguments must be an array, not ${shown(args)}`);
    }
    if (kwargs !== undefined && !isPlain(kwargs)) {
      throw invalidArgument(`the keyword arguments must be a plain object, not ${shown(kwargs)}`);
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

/** Checks the options before the job is submitted. Otherwise an error could leave a job for which nobody waits. */
function checkedOptions(options: unknown): { signal: AbortSignal | undefined; repr: boolean } {
  const refuse = (what: string, value: unknown) => invalidArgument(`${what}, not ${shown(value)}`);
  requireOptions(options, CALL_OPTIONS);
  const { signal, repr = false } = options as { signal?: unknown; repr?: unknown };
  if (typeof repr !== 'boolean') throw refuse('repr must be true or false', repr);
  // This check also accepts a signal of another realm.
  if (signal !== undefined && !(signal instanceof EventTarget && 'aborted' in signal)) {
    throw refuse('signal must be an AbortSignal', signal);
  }
  return { signal: signal as AbortSignal | undefined, repr };
}

/** Node 20 has this function, but the declarations of es2023 do not. */
const isWellFormed = (text: string): boolean => (text as string & { isWellFormed(): boolean }).isWellFormed();

function failure({ exception, noEquivalent }: PythonOutcome): Error {
  if (exception !== undefined) return new PythonError(...exception);
  if (noEquivalent !== undefined) {
    return new MallocBackendError(
      'ERR_PYTHON_VALUE',
      `the result is or contains ${noEquivalent}, which has no equivalent in JavaScript; convert it in Python, or pass ` +
        '{ repr: true } to get its repr',
    );
  }
  return new MallocBackendError('ERR_ABORTED', 'the call was cancelled before it began');
}

function notRunning(): MallocBackendError {
  return new MallocBackendError('ERR_PYTHON_START', 'no interpreter runs in this process');
}

function aborted(signal: AbortSignal): MallocBackendError {
  return new MallocBackendError('ERR_ABORTED', 'the call was aborted by its signal', {
    cause: signal.reason,
  });
}

/** With deepBind, libpython would call libc's `free` for blocks of another allocator. */
function refuseDeepBind(): void {
  const { kind, owner } = activeBackend();
  if (kind === 'libc') return;
  throw new MallocBackendError(
    'ERR_PYTHON_CONFIG',
    `deepBind needs libc's malloc, but this process uses the malloc of ${owner}, so one allocator would free the other's ` +
      'blocks; omit deepBind, or start the process without the preloaded library',
  );
}

/** Checks the option `env`. */
function ownVariables(env: unknown = {}): Record<string, string> {
  const entries = typeof env === 'object' && env !== null ? Object.entries(env) : undefined;
  const isVariable = ([name, value]: [string, unknown]) =>
    name !== '' && !/[=\0]/.test(name) && typeof value === 'string' && !value.includes('\0');
  if (entries?.every(isVariable) !== true) {
    throw invalidArgument(`env must be an object of strings that can be variables, not ${shown(env)}`);
  }
  return Object.fromEntries(entries) as Record<string, string>;
}

/** Sets this process's environment. Returns a function that restores the previous environment. */
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
  throw invalidArgument(
    `a worker cannot set ${what}, because a worker has only a copy of the process environment; start the interpreter on ` +
      'the main thread',
  );
}
