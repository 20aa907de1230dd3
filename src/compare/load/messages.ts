// What the comparison and the process that makes the load say to each other.

import type { Latency } from '../latency.js';
import type { LoadGenerator } from '../results.js';

/** Requests to a URL. */
export interface HttpTask {
  kind: 'http';
  url: string;
  /** The requests in a second. Undefined: as many as the connections allow, each after the answer to the one before. */
  rate: number | undefined;
  /** The most connections at a time. */
  connections: number;
  /** How long the load goes on before it is measured. */
  warmupMs: number;
  durationMs: number;
}

/** A shell command that loads the service, and ends. */
export interface CommandTask {
  kind: 'command';
  command: string;
  timeoutMs: number;
  /** Whether the command's output is shown. */
  isShown: boolean;
}

export type LoadTask = HttpTask | CommandTask;

/** What came of the load. */
export interface LoadReport {
  /** Milliseconds of CLOCK_MONOTONIC. */
  start: number;
  end: number;
  /** Absent where a command did not print them. */
  throughput?: number;
  errors?: number;
  /** Absent also without a rate: who waits for an answer before the next request leaves the slow moments out. */
  latency?: Partial<Latency>;
  histogram?: [percentile: number, ms: number][];
  generator?: LoadGenerator;
  /** The first error, in words. */
  problem?: string;
}

/** From the process that makes the load. */
export type LoadMessage = { type: 'done'; report: LoadReport } | { type: 'failed'; message: string };

/** CLOCK_MONOTONIC in milliseconds, which the native launcher reads, too. */
export const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6;
