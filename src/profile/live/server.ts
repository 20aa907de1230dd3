// The socket at which `malloc-backend profile --pid` asks a process for a profile.
//
// The client sends one line of JSON, and gets lines of JSON, of which the last one says how many bytes of a profile follow.

import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { type Server, type Socket, connect, createServer } from 'node:net';
import { invalidArgument, shown } from '../../errors.js';
import { linuxBinding } from '../../native/loader.js';
import { type Captures, MOST_SECONDS } from './captures.js';
import { refused, socketPath } from './folder.js';

/** What a client sends, in one line. */
export interface Request {
  profile: 'heap';
  seconds?: number;
  interval?: number;
}

/** What it gets, in lines. */
export type Reply =
  | { state: 'waiting' }
  | { state: 'profiling' }
  | { state: 'done'; bytes: number }
  | { state: 'failed'; code: string; message: string };

/** The socket of `heapProfile.listen()`. */
export interface HeapProfileSocket {
  readonly path: string;
  /** Ends it, and removes its file. A profile that is being made ends without a result. */
  close(): Promise<void>;
}

/** A longer line is no request, and a client that sends none for so long wants nothing. */
const LONGEST_REQUEST = 256;
const PATIENCE_MS = 10_000;
const MOST_CLIENTS = 16;

/**
 * Listens at this process's socket. Neither the socket nor a client keeps the process alive.
 *
 * @throws {@link MallocBackendError} `ERR_PROFILE_SOCKET`. `ERR_BACKEND_UNAVAILABLE` on other systems than Linux.
 */
export async function listenAt(captures: Captures): Promise<HeapProfileSocket> {
  // Before a folder is made.
  linuxBinding('a socket for a profiler');
  const path = socketPath();
  await removeStale(path);
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    client.unref();
    client.on('error', () => client.destroy());
    if (!isAllowed(client)) return void client.destroy();
    clients.add(client);
    client.on('close', () => clients.delete(client));
    serve(client, captures);
  });
  server.maxConnections = MOST_CLIENTS;
  server.unref();
  await bound(server, path);
  // In a folder that no one else can enter: nobody comes in between.
  chmodSync(path, 0o600);
  const remove = () => {
    try {
      unlinkSync(path);
    } catch {
      // Node has removed it, or someone else has.
    }
  };
  process.once('exit', remove);
  return {
    path,
    close: async () => {
      process.off('exit', remove);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // At once: a new socket may get the name while the clients are still being closed.
      remove();
      for (const client of clients) client.destroy();
      await closed;
    },
  };
}

function bound(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(refused(path, cause.message, cause)));
    // In a worker of Node's cluster too, it is this process that listens.
    server.listen({ path, exclusive: true }, () => {
      // What fails later, such as one accept(2) without a free file descriptor, ends no service.
      server.removeAllListeners('error').on('error', () => {});
      resolve();
    });
  });
}

/** A process that was killed leaves its file. The next one with its id takes its place. */
async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw refused(path, 'there is a file that is no socket; remove it');
  if (await answers(path))
    throw refused(
      path,
      'something listens there: another thread of this process, or a process with the same id in another container',
    );
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ECONNREFUSED' || cause.code === 'ENOENT') resolve(false);
      else reject(refused(path, cause.message, cause));
    });
  });
}

/** Only this process's user and root. The folder's mode refuses all others already. */
function isAllowed(client: Socket): boolean {
  const { _handle: handle } = client as unknown as { _handle?: { fd?: unknown } };
  const fd = handle?.fd;
  if (typeof fd !== 'number' || fd < 0) return false;
  const user = linuxBinding().peerUser(fd);
  return user !== null && (user === 0 || user === process.geteuid!());
}

function serve(client: Socket, captures: Captures): void {
  const abort = new AbortController();
  const impatient = setTimeout(() => client.destroy(), PATIENCE_MS);
  impatient.unref();
  client.on('close', () => {
    clearTimeout(impatient);
    abort.abort();
  });
  let line = Buffer.alloc(0);
  const read = (chunk: Buffer) => {
    line = Buffer.concat([line, chunk]);
    const end = line.indexOf('\n');
    if (end < 0 && line.length <= LONGEST_REQUEST) return;
    clearTimeout(impatient);
    client.off('data', read);
    // What comes after the request is not read, but that the client goes away is noticed.
    client.resume();
    const request = end < 0 || end > LONGEST_REQUEST ? undefined : parsed(line.toString('utf8', 0, end));
    if (request === undefined) client.destroy();
    else void answer(client, captures, request, abort.signal);
  };
  client.on('data', read);
}

/** Nothing where it is no request. */
function parsed(line: string): Request | undefined {
  try {
    const request = JSON.parse(line) as Partial<Request> | null;
    return request?.profile === 'heap' ? (request as Request) : undefined;
  } catch {
    return undefined;
  }
}

async function answer(
  client: Socket,
  captures: Captures,
  { seconds, interval }: Request,
  signal: AbortSignal,
): Promise<void> {
  const say = (reply: Reply) => client.write(`${JSON.stringify(reply)}\n`);
  try {
    const checked = seconds === undefined ? undefined : checkSeconds(seconds);
    const profile = await captures.capture({
      seconds: checked,
      interval,
      signal,
      tell: (state) => say({ state }),
    });
    say({ state: 'done', bytes: profile.length });
    client.end(profile);
  } catch (error) {
    if (signal.aborted) return;
    const { code = 'ERR_PROFILE_SOCKET', message } = error as { code?: string; message: string };
    say({ state: 'failed', code, message });
    client.end();
  }
}

/** @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT` */
export function checkSeconds(seconds: unknown): number {
  if (typeof seconds === 'number' && seconds > 0 && seconds <= MOST_SECONDS) return seconds;
  throw invalidArgument(
    `seconds must be a number above 0 and at most ${MOST_SECONDS}, not ${shown(seconds)}`,
  );
}
