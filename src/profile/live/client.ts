import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { basename } from 'node:path';
import { MallocBackendError, type MallocBackendErrorCode } from '../../errors.js';
import { requireProcessId } from '../../process/owner.js';
import { SOCKET_NAME } from './folder.js';
import type { Reply, Request } from './server.js';

/**
 * Asks a process for a profile. The process must listen: see `heapProfile.listen`.
 *
 * @throws {@link MallocBackendError} `ERR_PROCESS_NOT_FOUND`, `ERR_PROCESS_ACCESS`, `ERR_PROFILE_SOCKET`, `ERR_ABORTED`, and
 * what the process itself says.
 */
export async function requestProfile(
  pid: number,
  request: Request,
  { signal, tell }: { signal?: AbortSignal; tell?: (state: 'waiting' | 'profiling') => void } = {},
): Promise<Uint8Array> {
  requireProcessId(pid);
  const path = socketOf(pid);
  const chunks: Buffer[] = [];
  let expected: number | undefined;
  let failure: MallocBackendError | undefined;
  let text = Buffer.alloc(0);
  let received = 0;
  const add = (chunk: Buffer): void => {
    received += chunk.length;
    if (received > expected!) throw noProfiler(pid);
    chunks.push(chunk);
  };
  const take = (chunk: Buffer): void => {
    if (expected !== undefined) return add(chunk);
    text = Buffer.concat([text, chunk]);
    for (let end = text.indexOf('\n'); end >= 0 && expected === undefined; end = text.indexOf('\n')) {
      const reply = replyOf(pid, text.toString('utf8', 0, end));
      text = text.subarray(end + 1);
      if (reply.state === 'done') {
        expected = reply.bytes;
        add(text);
      } else if (reply.state === 'failed') {
        // Another user's process may say anything, and the reader may be root at a terminal.
        failure = new MallocBackendError(
          reply.code as MallocBackendErrorCode,
          `process ${pid}: ${printable(reply.message)}`,
        );
      } else tell?.(reply.state);
    }
    if (text.length > LONGEST_REPLY && expected === undefined) throw noProfiler(pid);
  };
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ path, ...(signal && { signal }) });
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    socket.on('data', (chunk: Buffer) => {
      try {
        take(chunk);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.on('error', (cause) =>
      reject(
        cause instanceof MallocBackendError
          ? cause
          : signal?.aborted
            ? new MallocBackendError('ERR_ABORTED', 'the profile was interrupted', { cause })
            : closed(pid, cause.message, cause),
      ),
    );
    socket.on('close', () => resolve());
  });
  if (failure !== undefined) throw failure;
  const profile = Buffer.concat(chunks);
  if (expected === undefined || profile.length !== expected)
    throw closed(pid, 'it closed the connection before it sent a whole profile; it may have ended');
  return profile;
}

/** A line that is longer is none of ours. */
const LONGEST_REPLY = 64 * 1024;
/** No profile is larger: its tables have a fixed size. */
const MOST_BYTES = 64 * 2 ** 20;
const LONGEST_MESSAGE = 2000;

function replyOf(pid: number, line: string): Reply {
  let reply: unknown;
  try {
    reply = JSON.parse(line);
  } catch {
    throw noProfiler(pid);
  }
  const { state, bytes, code, message } = (reply ?? {}) as Record<string, unknown>;
  const isReply =
    state === 'waiting' ||
    state === 'profiling' ||
    (state === 'done' && Number.isSafeInteger(bytes) && Number(bytes) >= 0 && Number(bytes) <= MOST_BYTES) ||
    (state === 'failed' &&
      typeof code === 'string' &&
      /^ERR_[A-Z_]{1,60}$/.test(code) &&
      typeof message === 'string');
  if (!isReply) throw noProfiler(pid);
  return reply as Reply;
}

/** Without the characters that a terminal obeys. */
function printable(message: string): string {
  return message.slice(0, LONGEST_MESSAGE).replaceAll(/[\p{C}\u2028\u2029]/gu, '?');
}

const noProfiler = (pid: number) => closed(pid, 'what listens there is no profiler of this version');

function closed(pid: number, why: string, cause?: unknown): MallocBackendError {
  return new MallocBackendError('ERR_PROFILE_SOCKET', `process ${pid} gave no profile: ${why}`, { cause });
}

/** The path at which a process listens. The system says it: the process may have another environment, and another root. */
function socketOf(pid: number): string {
  const own = new Set<string>();
  let sockets: string;
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const inode = inodeOf(`/proc/${pid}/fd/${fd}`);
      if (inode !== undefined) own.add(inode);
    }
    sockets = readFileSync(`/proc/${pid}/net/unix`, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      throw new MallocBackendError('ERR_PROCESS_NOT_FOUND', `there is no process ${pid}`, { cause });
    throw new MallocBackendError(
      'ERR_PROCESS_ACCESS',
      `cannot profile process ${pid}: it belongs to another user, or has more rights (${message}); run this as its user or as root`,
      { cause },
    );
  }
  // The columns: address, references, protocol, flags, type, state, inode, path.
  for (const line of sockets.split('\n').slice(1)) {
    const [, inode = '', path = ''] = /^(?:\S+\s+){6}(\d+) (\/.*)$/.exec(line) ?? [];
    if (own.has(inode) && SOCKET_NAME.test(basename(path))) return `/proc/${pid}/root${path}`;
  }
  throw new MallocBackendError(
    'ERR_PROFILE_SOCKET',
    `process ${pid} does not listen for a profiler; start it by MALLOC_BACKEND_PROFILE=socket node --import malloc-backend/profile …, or call heapProfile.listen() in it`,
  );
}

function inodeOf(link: string): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(link))?.[1];
  } catch {
    // The file was closed meanwhile.
    return undefined;
  }
}
