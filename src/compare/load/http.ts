// Loads a service by HTTP. With a rate the requests are due at fixed moments, whatever the service does, and the latency of
// each counts from the moment when it was due. A load that sends the next request after the answer to the one before sends
// none while the service stalls, and so leaves out what a stall does to everyone who comes meanwhile ("coordinated omission").

import { Latencies } from '../latency.js';
import { Client, type Problem } from './client.js';
import { type HttpTask, type LoadReport, monotonic } from './messages.js';
import { pace } from './pace.js';

/** How long answers may take after the last request was due. */
const DRAIN_MS = 5000;

/**
 * Loads the service.
 *
 * @throws an Error, if the service does not answer well before the load begins.
 */
export async function loadByHttp(task: HttpTask): Promise<LoadReport> {
  const client = new Client(task.url, task.connections);
  try {
    const problem = await new Promise<Problem>((resolve) => client.request(resolve));
    if (problem !== undefined) throw new Error(`${task.url} has no good answer before the load: ${problem}`);
    return task.rate === undefined
      ? await new ClosedLoop(task, client).run()
      : await new OpenLoop(task, task.rate, client).run();
  } finally {
    client.close();
  }
}

/** `performance.now()` on the clock of {@link monotonic}. */
const onMonotonic = (moment: number): number => moment - performance.now() + monotonic();

class OpenLoop {
  readonly #client: Client;
  readonly #connections: number;
  readonly #gapMs: number;
  /** Requests are numbered. Those before `#first` warm up. */
  readonly #first: number;
  readonly #total: number;
  /** When the request 0 is due. A moment ahead, in which the thread that calls starts. */
  readonly #begin = performance.now() + 50;
  /** The number of requests that are due, sent, and over: each request between `sent` and `due` waits for a connection. */
  #due = 0;
  #sent = 0;
  #over = 0;
  readonly #isOver: Uint8Array;
  readonly #latencies = new Latencies();
  readonly #late = new Latencies();
  #waited = 0;
  #errors = 0;
  #problem: Problem;
  #lastAnswer = 0;
  #busyFrom = performance.eventLoopUtilization();
  #resolve: () => void = () => {};

  constructor({ connections, warmupMs, durationMs }: HttpTask, rate: number, client: Client) {
    this.#client = client;
    this.#connections = connections;
    this.#gapMs = 1000 / rate;
    this.#first = Math.round(warmupMs / this.#gapMs);
    this.#total = this.#first + Math.max(1, Math.round(durationMs / this.#gapMs));
    this.#isOver = new Uint8Array(this.#total);
  }

  async run(): Promise<LoadReport> {
    const finished = new Promise<void>((resolve) => (this.#resolve = resolve));
    const pacer = pace(this.#begin, this.#gapMs, () => this.#tick());
    const end = this.#dueAt(this.#total);
    const deadline = setTimeout(() => this.#resolve(), end + DRAIN_MS - performance.now());
    await finished;
    clearTimeout(deadline);
    const { utilization } = performance.eventLoopUtilization(this.#busyFrom);
    await pacer.end();
    this.#giveUp();
    return this.#report(end, utilization);
  }

  #dueAt(request: number): number {
    return this.#begin + request * this.#gapMs;
  }

  #tick(): void {
    const elapsed = performance.now() - this.#begin;
    const due = Math.min(this.#total, Math.floor(elapsed / this.#gapMs) + 1);
    if (this.#due <= this.#first && due > this.#first) this.#busyFrom = performance.eventLoopUtilization();
    this.#due = Math.max(this.#due, due);
    this.#sendDue(false);
  }

  /** Sends what is due, as far as there are connections. */
  #sendDue(hasWaited: boolean): void {
    while (this.#sent < this.#due && this.#sent - this.#over < this.#connections) {
      const request = this.#sent++;
      if (request >= this.#first) {
        if (hasWaited) this.#waited++;
        else this.#late.record(performance.now() - this.#dueAt(request));
      }
      this.#client.request((problem) => this.#answered(request, problem));
    }
  }

  #answered(request: number, problem: Problem): void {
    const now = performance.now();
    this.#over++;
    this.#isOver[request] = 1;
    if (request >= this.#first) {
      if (problem === undefined) {
        this.#latencies.record(now - this.#dueAt(request));
        this.#lastAnswer = now;
      } else {
        this.#errors++;
        this.#problem ??= problem;
      }
    }
    if (this.#over === this.#total) this.#resolve();
    else this.#sendDue(true);
  }

  /** Who has no answer yet has waited for so long at least. To leave those out would hide the worst. */
  #giveUp(): void {
    const now = performance.now();
    for (let request = this.#first; request < this.#total; request++) {
      if (this.#isOver[request] === 1) continue;
      this.#latencies.record(now - this.#dueAt(request));
      this.#errors++;
      this.#problem ??= `no answer came within ${DRAIN_MS / 1000} s of the end of the load`;
    }
  }

  #report(due: number, busy: number): LoadReport {
    const start = this.#dueAt(this.#first);
    const end = Math.max(due, this.#lastAnswer);
    const count = this.#total - this.#first;
    const latency = this.#latencies.summary();
    // The last answer comes later than its request by what every answer takes. That makes the service no slower.
    const elapsed = Math.max(due - start, end - start - (this.#latencies.percentile(0) ?? 0));
    return {
      start: onMonotonic(start),
      end: onMonotonic(end),
      throughput: ((count - this.#errors) * 1000) / elapsed,
      errors: this.#errors,
      ...(latency === undefined ? {} : { latency, histogram: this.#latencies.curve() }),
      generator: {
        lateP50: this.#late.percentile(50) ?? 0,
        lateP99: this.#late.percentile(99) ?? 0,
        busy,
        waited: this.#waited / count,
      },
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
    };
  }
}

/** How many answers the connections get when each sends its next request after an answer. */
class ClosedLoop {
  readonly #task: HttpTask;
  readonly #client: Client;
  readonly #start: number;
  readonly #end: number;
  #answers = 0;
  #errors = 0;
  #problem: Problem;

  constructor(task: HttpTask, client: Client) {
    this.#task = task;
    this.#client = client;
    this.#start = performance.now() + task.warmupMs;
    this.#end = this.#start + task.durationMs;
  }

  async run(): Promise<LoadReport> {
    const at = (moment: number): Promise<void> =>
      new Promise((resolve) => setTimeout(resolve, moment - performance.now()));
    for (let connection = 0; connection < this.#task.connections; connection++) this.#next();
    await at(this.#start);
    const busyFrom = performance.eventLoopUtilization();
    await at(this.#end);
    const { utilization: busy } = performance.eventLoopUtilization(busyFrom);
    return {
      start: onMonotonic(this.#start),
      end: onMonotonic(this.#end),
      throughput: (this.#answers * 1000) / this.#task.durationMs,
      errors: this.#errors,
      generator: { lateP50: 0, lateP99: 0, busy, waited: 0 },
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
    };
  }

  #next(): void {
    this.#client.request((problem) => {
      const now = performance.now();
      if (now > this.#end) return;
      if (now >= this.#start) {
        if (problem === undefined) this.#answers++;
        else this.#errors++;
        this.#problem ??= problem;
      }
      // Not at once: a service that is gone refuses without a wait, and the timers would never be heard.
      if (problem === undefined) this.#next();
      else setImmediate(() => this.#next());
    });
  }
}
