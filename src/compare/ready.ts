// When is a service ready: a URL answers well, a port accepts connections, or a text stands in the output.

import http from 'node:http';
import https from 'node:https';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** What says that a service is ready. */
export type Readiness =
  | { kind: 'url'; url: string }
  | { kind: 'port'; host: string; port: number }
  | { kind: 'text'; text: string };

/** How long an attempt may take. */
const ATTEMPT_MS = 5000;
/** The time between two attempts: a service under several allocators starts in times that differ by less. */
const PAUSE_MS = 20;

/**
 * Reads `--ready`: `http://…` or `https://…` is a URL; `3000` and `host:3000` are ports; everything else is a text, and what
 * follows `text:` is one in any case.
 */
export function parseReady(ready: string): Readiness {
  if (ready.startsWith('text:')) return { kind: 'text', text: ready.slice('text:'.length) };
  if (/^https?:\/\//i.test(ready)) return { kind: 'url', url: new URL(ready).href };
  const [, host = '127.0.0.1', digits] = /^(?:([\w.-]+|\[[\da-f:.]+\]):)?(\d{1,5})$/i.exec(ready) ?? [];
  const port = Number(digits);
  if (port > 0 && port < 65_536) return { kind: 'port', host: host.replace(/^\[(.*)\]$/, '$1'), port };
  return { kind: 'text', text: ready };
}

/** Looks for a text in what arrives in pieces. */
export class TextWatch {
  readonly #text: string;
  #tail = '';
  #found: () => void = () => {};
  /** Resolves when the text was there. */
  readonly found = new Promise<void>((resolve) => (this.#found = resolve));

  constructor(text: string) {
    this.#text = text;
  }

  read(piece: string): void {
    const all = this.#tail + piece;
    if (all.includes(this.#text)) this.#found();
    this.#tail = this.#text.length > 1 ? all.slice(1 - this.#text.length) : '';
  }
}

/** Tries until the service is ready, and resolves with true; with the last refusal in words, if it is not in time. */
export async function waitUntilReady(
  readiness: Exclude<Readiness, { kind: 'text' }>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<true | string> {
  const deadline = performance.now() + timeoutMs;
  let refusal = 'nothing was tried';
  do {
    signal.throwIfAborted();
    const left = Math.max(1, Math.min(ATTEMPT_MS, deadline - performance.now()));
    const answer =
      readiness.kind === 'url' ? await answers(readiness.url, left) : await accepts(readiness, left);
    if (answer === true) return true;
    refusal = answer;
    await delay(PAUSE_MS, undefined, { signal });
  } while (performance.now() < deadline);
  return refusal;
}

/** Whether the URL answers with less than 400. */
function answers(url: string, timeoutMs: number): Promise<true | string> {
  return new Promise((resolve) => {
    const options = { agent: false, timeout: timeoutMs, rejectUnauthorized: false } as const;
    const request = (url.startsWith('https:') ? https : http).get(url, options, (response) => {
      response.resume();
      response.once('error', () => {});
      const status = response.statusCode!;
      // At the end of the answer: so no request of ours is under way when the load begins.
      response.once('close', () =>
        resolve(status < 400 ? true : `it answers ${status} ${response.statusMessage}`),
      );
    });
    request.once('timeout', () => request.destroy(new Error('no answer comes')));
    request.once('error', (error) => resolve(inWords(error)));
  });
}

/** The refusal of a port that neither accepts nor refuses. */
export const SILENT = 'no connection is accepted';

/** Whether something accepts a connection. */
export function accepts(
  { host, port }: { host: string; port: number },
  timeoutMs: number,
): Promise<true | string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    const end = (answer: true | string): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(SILENT));
    socket.once('error', (error) => end(inWords(error)));
  });
}

/** A host with two addresses has an AggregateError, whose message is empty. */
function inWords(error: NodeJS.ErrnoException): string {
  const { code, message } = error;
  return message || (code ?? 'no reason is known');
}
