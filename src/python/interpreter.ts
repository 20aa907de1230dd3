import { isMainThread } from 'node:worker_threads';
import { join } from 'node:path';
import { type NativePort, linuxBinding } from '../binding.js';
import { MallocBackendError, shown } from '../errors.js';
import { activeBackend } from '../process/owner.js';
import {
  type PythonAllocatorConfig,
  OVERRIDING,
  encodePythonConfig,
  parsePythonConfig,
  withoutOverride,
} from './config.js';
import { type Located, locatePython } from './locate.js';
import { type PythonCounters, type PythonReport, describeCounters, describeReport } from './report.js';
import { type PythonArgument, type PythonValue, toPython } from './value.js';

/** How the interpreter is found and set up. */
export interface PythonInterpreterOptions extends PythonAllocatorConfig {
  /** The interpreter whose shared library is loaded: a path, or a name in PATH. Default: `python3`. */
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
  /** Variables to set in this process before Python reads them. On the main thread only. */
  env?: Readonly<Record<string, string>>;
}

/** How a call is to be waited for. */
export interface PythonCallOptions {
  /** Stops waiting, and raises `KeyboardInterrupt` in the interpreter's thread if the call runs there. */
  signal?: AbortSignal;
  /** Whether a result that has no equivalent in JavaScript comes as its `repr`. Default: false. */
  repr?: boolean;
}

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

let running: { interpreter: PythonInterpreter; key: string } | undefined;

/**
 * CPython in this process, on a thread of its own, for as long as the process lives. There is one, which all threads of
 * Node share; every thread starts it for itself.
 *
 * What is asked of it is done in order. What it prints is written when the process exits, if not before.
 */
export class PythonInterpreter {
  readonly #port: NativePort;
  readonly #pending = new Map<number, Pending>();
  readonly #native = linuxBinding();

  private constructor() {
    this.#port = this.#native.pythonPort((outcomes) => this.#settle(outcomes));
  }

  /**
   * Starts the interpreter, or gives the one that runs if it was started with the same options.
   *
   * @throws {@link MallocBackendError} (by rejection) `ERR_INVALID_ARGUMENT`, `ERR_UNKNOWN_BACKEND`,
   * `ERR_PYTHON_CONFIG`, `ERR_PYTHON_ENVIRONMENT`, `ERR_PYTHON_UNSUPPORTED` (not CPython, older than 3.8, or a
   * free-threaded build with other domains than `raw`), `ERR_PROGRAM_NOT_FOUND`, `ERR_LIBPYTHON_NOT_FOUND`,
   * `ERR_PYTHON_RUNNING` (with other options), `ERR_PYTHON_START`, `ERR_BACKEND_UNAVAILABLE`
   */
  static async start(options: PythonInterpreterOptions = {}): Promise<PythonInterpreter> {
    const config = parsePythonConfig(options);
    const native = linuxBinding();
    const { isolated = false, deepBind = false, env } = options;
    for (const [name, value] of Object.entries({ isolated, deepBind })) {
      if (typeof value === 'boolean') continue;
      throw new MallocBackendError(
        'ERR_INVALID_ARGUMENT',
        `${name} must be true or false, not ${shown(value)}`,
      );
    }
    if (deepBind) refuseDeepBind();
    if (env !== undefined) setVariables(env);
    if (!isolated) {
      const without = withoutOverride(process.env, config);
      if (without !== process.env) unsetOverride();
    }
    const { venv, python = venv === undefined ? 'python3' : join(venv, 'bin', 'python3') } = options;
    const located: Located = await locatePython(python, options.libpython, config);
    const start = { ...located, isolated, deepBind, config: encodePythonConfig(config) };
    const { failure, message } = await native.pythonStart(start);
    if (failure !== undefined) throw startError(failure, message ?? '', located);
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
    if (info === null)
      throw new MallocBackendError('ERR_PYTHON_START', 'no interpreter runs in this process');
    return { ...describeReport(info), libpython: info.libpython };
  }

  /** What went through the domains; undefined unless `counters` was asked for. */
  stats(): PythonCounters | undefined {
    const counters = this.#native.pythonInfo()?.counters;
    return counters === undefined ? undefined : describeCounters(counters);
  }

  async #submit(
    kind: string,
    what: string,
    text: unknown,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>> | undefined,
    { signal, repr = false }: PythonCallOptions,
  ): Promise<PythonValue> {
    if (typeof text !== 'string') {
      throw new MallocBackendError(
        'ERR_INVALID_ARGUMENT',
        `the ${what} must be a string, not ${shown(text)}`,
      );
    }
    if (!Array.isArray(args)) {
      throw new MallocBackendError(
        'ERR_INVALID_ARGUMENT',
        `the arguments must be an array, not ${shown(args)}`,
      );
    }
    if (signal?.aborted === true) throw aborted(signal);
    const positional = args.map((value, index) => toPython(value, `argument ${index}`));
    const named =
      kwargs === undefined || isEmpty(kwargs) ? undefined : toPython(kwargs, 'the keyword arguments');
    const number = this.#native.pythonSubmit(this.#port, kind, text, positional, named, repr);
    if (number === null)
      throw new MallocBackendError('ERR_PYTHON_START', 'no interpreter runs in this process');
    if (this.#pending.size === 0) this.#native.pythonHold(this.#port, true);
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
    if (this.#pending.delete(number) && this.#pending.size === 0) this.#native.pythonHold(this.#port, false);
    return pending;
  }

  #settle(outcomes: readonly unknown[]): void {
    for (let at = 0; at < outcomes.length; at += 3) {
      const [number, kind, payload] = outcomes.slice(at, at + 3) as [number, string, unknown];
      const pending = this.#take(number);
      if (kind === 'value') pending?.resolve(payload as PythonValue);
      else pending?.reject(failure(kind, payload));
    }
  }
}

function isEmpty(object: object): boolean {
  return Object.getPrototypeOf(object) === Object.prototype && Object.keys(object).length === 0;
}

function failure(kind: string, payload: unknown): Error {
  if (kind === 'exception') return new PythonError(...(payload as [string, string, string]));
  if (kind === 'no-equivalent') {
    return new MallocBackendError(
      'ERR_PYTHON_VALUE',
      `the result is or contains ${String(payload)}, which JavaScript has no equivalent for; convert it in Python, ` +
        'or ask for its repr by { repr: true }',
    );
  }
  return new MallocBackendError('ERR_ABORTED', 'the call was called off before it began');
}

function aborted(signal: AbortSignal): MallocBackendError {
  return new MallocBackendError('ERR_ABORTED', 'the call was aborted by its signal', {
    cause: signal.reason,
  });
}

/** libpython would free by libc what libc itself got from the allocator in its place. */
function refuseDeepBind(): void {
  const { owner, path } = activeBackend();
  if (owner === 'libc') return;
  throw new MallocBackendError(
    'ERR_PYTHON_CONFIG',
    `deepBind needs libc's malloc, and this process's is that of ${path}: memory of the one would be freed by the ` +
      'other; leave deepBind or the preload away',
  );
}

function requireMainThread(what: string): void {
  if (isMainThread) return;
  throw new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    `${what} changes the environment of the process, which a worker has only a copy of; start on the main thread`,
  );
}

function setVariables(env: unknown): void {
  const entries = typeof env === 'object' && env !== null ? Object.entries(env) : undefined;
  if (entries === undefined || entries.some(([, value]) => typeof value !== 'string')) {
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      `env must be an object of strings, not ${shown(env)}`,
    );
  }
  requireMainThread('env');
  for (const [name, value] of entries as [string, string][]) process.env[name] = value;
}

function unsetOverride(): void {
  requireMainThread('unsetPythonMalloc');
  for (const name of OVERRIDING) delete process.env[name];
}

function startError(failure: string, message: string, { libpython }: Located): MallocBackendError {
  switch (failure) {
    case 'running':
      return new MallocBackendError(
        'ERR_PYTHON_RUNNING',
        'an interpreter with other options runs in this process, and there can be one only; start it with the same ' +
          'options, or another process by spawnPython',
      );
    case 'foreign':
      return new MallocBackendError(
        'ERR_PYTHON_RUNNING',
        'a Python that was not started by this package runs in this process: its domains cannot be set any more',
      );
    case 'library':
      return new MallocBackendError('ERR_LIBPYTHON_NOT_FOUND', `cannot load ${libpython}: ${message}`);
    case 'too-old':
    case 'free-threaded':
      return new MallocBackendError('ERR_PYTHON_UNSUPPORTED', message);
    case 'not-applied':
      return new MallocBackendError('ERR_NOT_APPLIED', message);
    default:
      return new MallocBackendError('ERR_PYTHON_START', `Python did not start: ${message}`);
  }
}
