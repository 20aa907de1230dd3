// HTTP requests, each over a connection of its own for so long, which the next one takes over.

import http from 'node:http';
import https from 'node:https';

/** Why a request has no good answer, or undefined where it has one. */
export type Problem = string | undefined;

/** Longer than a service that works takes. What is stuck is told as an error. */
const SILENCE_MS = 30_000;

export class Client {
  readonly #options: https.RequestOptions;
  readonly #get: (options: https.RequestOptions) => http.ClientRequest;
  readonly #agent: http.Agent;

  constructor(address: string, connections: number) {
    const url = new URL(address);
    const isSecure = url.protocol === 'https:';
    const options = { keepAlive: true, maxFreeSockets: connections };
    // The service is the user's own, and what it runs on for a test often has a certificate that nobody signed.
    this.#agent = isSecure
      ? new https.Agent({ ...options, rejectUnauthorized: false })
      : new http.Agent(options);
    this.#get = isSecure ? https.get : http.get;
    this.#options = {
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port === '' ? undefined : url.port,
      path: url.pathname + url.search,
      ...(url.username === ''
        ? {}
        : { auth: `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}` }),
      agent: this.#agent,
      // Not the agent's: a connection that is used again would keep the time-out of the server's Keep-Alive header.
      timeout: SILENCE_MS,
    };
  }

  /** Sends a request and calls back at the end of its answer. */
  request(done: (problem: Problem) => void): void {
    this.#send(done, true);
  }

  #send(done: (problem: Problem) => void, mayRepeat: boolean): void {
    const request = this.#get(this.#options);
    let isOver = false;
    const end = (problem: Problem): void => {
      if (isOver) return;
      isOver = true;
      done(problem);
    };
    request.once('response', (response) => {
      const status = response.statusCode!;
      response.resume();
      response.once('error', () => {});
      response.once('close', () => {
        if (!response.complete) end('the connection ended within an answer');
        else end(status < 400 ? undefined : `the answer was ${status} ${response.statusMessage}`);
      });
    });
    request.once('timeout', () => request.destroy(new Error(`no answer came within ${SILENCE_MS / 1000} s`)));
    request.once('error', (error: NodeJS.ErrnoException) => {
      // The server closed the idle connection at the very moment when it was used again: no fault of either.
      const isStale = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (isStale && mayRepeat && !isOver) {
        isOver = true;
        this.#send(done, false);
      } else end(error.message || (error.code ?? 'no reason is known'));
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
