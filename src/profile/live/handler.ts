import type { IncomingMessage, ServerResponse } from 'node:http';
import { invalidArgument } from '../../errors.js';
import type { Captures } from './captures.js';
import { checkSeconds } from './server.js';

/** The part of a reply of Fastify that the handler needs. */
export interface FastifyReplyLike {
  raw: ServerResponse;
  hijack(): unknown;
}

/** A request as node:http and Express have it, or as Fastify wraps it. */
export type HeapProfileRequest = IncomingMessage | { raw: IncomingMessage };

/**
 * Answers a request with a heap profile.
 *
 * @returns A promise that ends when the answer is written. It does not reject.
 */
export type HeapProfileHandler = (
  request: HeapProfileRequest,
  response: ServerResponse | FastifyReplyLike,
) => Promise<void>;

/** The parameters of Go's handler that mean something here. */
const PARAMETERS = ['seconds', 'gc'] as const;

/** The handler for the profiles that `captures` makes. */
export function handlerOf(captures: Captures): HeapProfileHandler {
  return async (given, reply) => {
    const request = 'raw' in given ? given.raw : given;
    let response: ServerResponse;
    if ('hijack' in reply) {
      // Fastify would answer, too.
      reply.hijack();
      response = reply.raw;
    } else response = reply;
    await answer(captures, request, response);
  };
}

async function answer(captures: Captures, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const abort = new AbortController();
  response.on('close', () => abort.abort());
  const refuse = (status: number, why: string, headers: Record<string, string> = {}): void => {
    if (response.headersSent || response.destroyed) return;
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', ...SAFE, ...headers });
    response.end(`${why}\n`);
  };
  if (request.method !== 'GET')
    return refuse(405, `${request.method} is not possible here; use GET`, { allow: 'GET' });
  try {
    const { seconds, gc } = parametersOf(request);
    if (seconds === undefined && !captures.isProgram)
      return refuse(
        409,
        'no profile runs in this process; ask with ?seconds=30, or call heapProfile.start() when the process begins',
      );
    if (gc) collect();
    const profile = await captures.capture({ seconds, signal: abort.signal });
    response.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment; filename="heap.pb.gz"',
      'content-length': profile.length,
      ...SAFE,
    });
    response.end(profile);
  } catch (error) {
    if (abort.signal.aborted) return;
    const { code, message } = error as { code?: string; message: string };
    refuse(code === 'ERR_INVALID_ARGUMENT' ? 400 : code === 'ERR_BACKEND_UNAVAILABLE' ? 501 : 500, message);
  }
}

const SAFE = { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' };

function parametersOf({ url = '/' }: IncomingMessage): { seconds: number | undefined; gc: boolean } {
  const at = url.indexOf('?');
  const given = new URLSearchParams(at < 0 ? '' : url.slice(at + 1));
  for (const name of given.keys()) {
    if (!(PARAMETERS as readonly string[]).includes(name))
      throw invalidArgument(
        `unknown parameter ${JSON.stringify(name)}; it must be one of: ${PARAMETERS.join(', ')}`,
      );
    if (given.getAll(name).length > 1) throw invalidArgument(`the parameter ${name} is there more than once`);
  }
  const [seconds, gc] = [given.get('seconds'), given.get('gc')];
  if (gc !== null && gc !== '0' && gc !== '1')
    throw invalidArgument(`gc must be 1 or 0, not ${JSON.stringify(gc)}`);
  if (seconds !== null && !/^\d+(?:\.\d+)?$/.test(seconds))
    throw invalidArgument(`seconds must be a number like 30, not ${JSON.stringify(seconds)}`);
  return { seconds: seconds === null ? undefined : checkSeconds(Number(seconds)), gc: gc === '1' };
}

/** Collects garbage, so that Buffers which are garbage already do not count as in use. */
function collect(): void {
  if (globalThis.gc === undefined)
    throw invalidArgument('gc=1 needs a Node that was started with --expose-gc; leave gc out');
  globalThis.gc();
}
