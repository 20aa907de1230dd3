// A service of known latencies, as a program and as figures. Every answer waits for a time that its number decides; once, the
// whole service stands still.

import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';

/** How slow the service is. */
export interface Behaviour {
  /** The port; 0 for any. */
  port: number;
  /** The milliseconds that every answer waits. Undefined: as {@link delayOf}. */
  delay?: number;
  /** The request at whose arrival the service stands still, counted from 0. */
  stallAt?: number;
  stallMs?: number;
  /** Every so manieth answer is 500. */
  failEach?: number;
  /** The program ends with status 3 at this request. */
  crashAt?: number;
  /** The milliseconds before the service listens. */
  listenAfter?: number;
  /** The file that the program writes when it starts. */
  mark?: string;
  /** Whether the program heeds SIGTERM. Default: true. */
  isMeek?: boolean;
  /** Whether it starts a child that stays. */
  hasChild?: boolean;
}

/** What the service notes of each request, in the order of arrival. Milliseconds of CLOCK_MONOTONIC. */
export interface Note {
  arrived: number;
  answered: number;
}

/** Of 1,000 answers 795 wait for 40 ms, 150 for 60, 50 for 90, and 5 for 200. */
export function delayOf(request: number): number {
  // A multiplicative hash spreads the slow ones over the time.
  const part = ((request * 2_654_435_761) % 2 ** 32) / 2 ** 32;
  return part < 0.795 ? 40 : part < 0.945 ? 60 : part < 0.995 ? 90 : 200;
}

/**
 * The latencies of the requests from `first` on, which are due every `gapMs`, if the service begins each at once.
 *
 * @param stall - When it begins and how long it takes, in milliseconds since the request `first` was due.
 */
export function latencies(
  first: number,
  count: number,
  gapMs: number,
  stall: { at: number; ms: number },
): number[] {
  const end = stall.at + stall.ms;
  return Array.from({ length: count }, (_, at) => {
    const due = at * gapMs;
    const begins = due > stall.at && due < end ? end : due;
    const answered = begins + delayOf(first + at);
    // A timer that ends within the stall is heard after it.
    return (answered > stall.at && answered < end ? end : answered) - due;
  });
}

const now = (): number => Number(process.hrtime.bigint()) / 1e6;

function serve(behaviour: Behaviour): void {
  const { port, delay, stallAt, stallMs = 0, failEach, crashAt, listenAfter = 0 } = behaviour;
  if (behaviour.isMeek === false) process.on('SIGTERM', () => {});
  if (behaviour.hasChild) spawn('sleep', ['1000'], { stdio: 'ignore' });
  if (behaviour.mark !== undefined) appendFileSync(behaviour.mark, 'started\n');
  const notes: Note[] = [];
  const server = createServer((request, response) => {
    if (request.url === '/notes') return void response.end(JSON.stringify(notes));
    const number = notes.length;
    const note = { arrived: now(), answered: Infinity };
    notes.push(note);
    if (number === crashAt) {
      console.error('out of luck');
      process.exit(3);
    }
    if (number === stallAt) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, stallMs);
    if (failEach !== undefined && number % failEach === failEach - 1) response.statusCode = 500;
    setTimeout(
      () => {
        note.answered = now();
        response.end('done');
      },
      delay ?? delayOf(number),
    );
  });
  setTimeout(() => {
    server.listen(port, '127.0.0.1', () => {
      console.log(`listening on ${(server.address() as AddressInfo).port}`);
    });
  }, listenAfter);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) serve(JSON.parse(process.argv[2]!) as Behaviour);
