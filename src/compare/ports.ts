// Who listens on a port. A service that finds its port taken may end, or take another one; and the load would measure the other
// program.

import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { isIP } from 'node:net';
import { MallocBackendError } from '../errors.js';
import { type Readiness, SILENT, accepts, parseReady } from './ready.js';

interface Place {
  host: string;
  port: number;
}

/** Long enough for another machine; a port of this one answers at once. */
const ATTEMPT_MS = 1000;

/** The places where the service is to listen, as far as the options say. */
export function placesOf(ready: string, load: string): Place[] {
  const all = [parseReady(ready), ...(/^https?:\/\//i.test(load) ? [parseReady(load)] : [])];
  const places = all.map(placeOf).filter((place) => place !== undefined);
  return [...new Map(places.map((place) => [`${place.host} ${place.port}`, place])).values()];
}

function placeOf(readiness: Readiness): Place | undefined {
  if (readiness.kind === 'text') return undefined;
  if (readiness.kind === 'port') return readiness;
  const { hostname, port, protocol } = new URL(readiness.url);
  const standard = protocol === 'https:' ? 443 : 80;
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: port === '' ? standard : Number(port) };
}

/**
 * Makes sure that nobody else serves where the service is to listen.
 *
 * @throws {@link MallocBackendError} `ERR_PORT_IN_USE`
 */
export async function requireFree(places: readonly Place[]): Promise<void> {
  for (const place of places) {
    const { host, port } = place;
    const answer = await accepts(place, ATTEMPT_MS);
    // A port of this machine that nobody has refuses. One that keeps silent has a program with a full queue.
    if (answer !== true && !(answer === SILENT && isLoopback(host))) continue;
    throw new MallocBackendError(
      'ERR_PORT_IN_USE',
      `${isIP(host) === 6 ? `[${host}]` : host}:${port} is taken before the service starts, by ${whoListens(port)}; end that, or give the service another port`,
    );
  }
}

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || host.startsWith('127.');

/** A listening socket's state in /proc/net/tcp. */
const LISTEN = '0A';

/** The inodes of the sockets that listen on the port. */
function listeners(port: number): string[] {
  const inodes: string[] = [];
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    let text: string;
    try {
      text = readFileSync(table, 'latin1');
    } catch {
      // A kernel without IPv6 has no tcp6.
      continue;
    }
    for (const line of text.split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
      if (state === LISTEN && parseInt(local.split(':').at(-1)!, 16) === port) inodes.push(inode);
    }
  }
  return inodes;
}

/** The process that listens on the port, in words. */
function whoListens(port: number): string {
  const sockets = new Set(listeners(port).map((inode) => `socket:[${inode}]`));
  for (const pid of attempt(() => readdirSync('/proc')) ?? []) {
    if (!/^\d+$/.test(pid)) continue;
    // The processes of other users cannot be looked into.
    const files = attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
    const isOwner = files.some((fd) =>
      sockets.has(attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? ''),
    );
    if (!isOwner) continue;
    const command = attempt(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8')) ?? '';
    const words = command.split('\0').join(' ').trim();
    return `process ${pid} (${words.length > 200 ? `${words.slice(0, 200)}…` : words})`;
  }
  return 'a process that this user cannot look into';
}

function attempt<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}
