import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type BackendInfo, backends, tooSmallForSnmalloc } from '../backend.js';
import { binaryFolder, binding, linuxBinding } from '../binding.js';
import { type MemoryBreakdown, memory } from '../memory/memory.js';
import type { MemoryParts } from '../memory/parts.js';
import { MallocBackendError } from '../errors.js';
import { environmentPairs } from '../process/environment.js';
import { type ActiveBackend, activeBackend } from '../process/owner.js';
import { style, table } from './output.js';

/** Something in the way of a switch. */
interface Obstacle {
  code: 'PLATFORM' | 'MUSL' | 'SECURE' | 'STATIC' | 'FOREIGN_PRELOAD' | 'ADDRESS_SPACE' | 'MISSING';
  message: string;
}

interface Diagnosis {
  platform: string;
  node: string;
  libc: { name: string; version?: string };
  /** Linux only, as is `malloc`. */
  pageSize?: number;
  binaries: string;
  pid: number;
  malloc?: ActiveBackend;
  backends: BackendInfo[];
  obstacles: Obstacle[];
  /** With `--memory`. */
  memory?: MemoryBreakdown;
}

export const help = `Show whose malloc a process runs on, what this machine has, and what stands in the way of a switch.

Usage: malloc-backend doctor [options]

Options:
  --pid <pid>   look at that process (default: this command's own, which inherits what the shell has set)
  --memory      show where the process's memory is, too: of another process what its mappings say
  --json        for programs; sizes in bytes

Examples:
  malloc-backend doctor
  malloc-backend doctor --memory --pid 4711
  malloc-backend doctor --pid 4711 --json`;

/** `malloc-backend doctor`. */
export async function main(args: string[]): Promise<void> {
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({ args, options: { pid: { type: 'string' }, memory: flag, json: flag } });
  const diagnosis = diagnose(values.pid === undefined ? process.pid : processId(values.pid));
  if (values.memory) diagnosis.memory = await memory(diagnosis.pid);
  console.log(values.json ? JSON.stringify(diagnosis, null, 2) : describe(diagnosis));
}

/** In words of its own: of `abc` only NaN would be left to show. */
function processId(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    `--pid wants a process id, a positive integer, not ${JSON.stringify(text)}`,
  );
}

function diagnose(pid: number): Diagnosis {
  const machine = {
    platform: `${process.platform}-${process.arch}`,
    node: process.version,
    libc: libc(),
    binaries: binaryFolder(),
    pid,
  };
  if (binding().host === undefined) {
    return { ...machine, backends: backends(), obstacles: [platformObstacle()] };
  }
  const malloc = activeBackend(pid);
  const around = circumstances(pid);
  const preloaded = preloadedAllocators(around);
  return {
    ...machine,
    pageSize: linuxBinding().host().pageSize,
    malloc,
    backends: backends().map((info) =>
      info.backend === 'default' ? asRun(info, machine.libc, preloaded) : info,
    ),
    obstacles: obstacles(malloc, around, preloaded),
  };
}

/** `default` is the C library's for a process that is switched to it, whatever serves this one. */
function asRun(info: BackendInfo, { name, version }: Diagnosis['libc'], preloaded: Preloaded): BackendInfo {
  const [file] = preloaded.ofSystem;
  const { surfaces } = info;
  const refused = file !== undefined && surfaces.process.available;
  return {
    ...info,
    // What is known of it where it serves may be more than its name.
    version: info.version?.startsWith(name) ? info.version : [name, version ?? []].flat().join(' '),
    surfaces: refused
      ? { ...surfaces, process: { available: false, reason: namesAllocator(SYSTEM, file) } }
      : surfaces,
  };
}

const SYSTEM = '/etc/ld.so.preload';
const namesAllocator = (who: string, file: string) => `${who} names ${file}, which has a malloc of its own`;

/** Others' allocators that are preloaded into what is started there. */
interface Preloaded {
  ofEnvironment: string[];
  ofSystem: string[];
}

function preloadedAllocators({ environment, root }: Circumstances): Preloaded {
  return linuxBinding().preloadedAllocators(environmentPairs(environment), root);
}

/** This command's own, which is that of the libraries. */
function libc(): Diagnosis['libc'] {
  // Without this the report looks names up, of whatever this process is connected to.
  if ('excludeNetwork' in process.report) process.report.excludeNetwork = true;
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const version = header.glibcVersionRuntime;
  if (version !== undefined) return { name: 'glibc', version };
  return { name: binding().host?.().interpreter?.includes('musl') ? 'musl' : 'unknown' };
}

function platformObstacle(): Obstacle {
  const { surfaces } = backends().find(({ backend }) => backend === 'default') ?? {};
  return { code: 'PLATFORM', message: surfaces?.process.reason ?? `${process.platform} is not supported` };
}

/** What decides, outside of a program, whether it can be switched. Absent: it cannot be told. */
interface Circumstances {
  environment: NodeJS.ProcessEnv;
  root: string;
  interpreter?: string | undefined;
  secure?: boolean;
  /** The limits in bytes, if there are any. */
  addressSpace?: number | undefined;
  data?: number | undefined;
}

function circumstances(pid: number): Circumstances {
  if (pid === process.pid) return { environment: process.env, root: '', ...linuxBinding().host() };
  const folder = `/proc/${pid}`;
  const read = (name: string) => {
    try {
      return readFileSync(`${folder}/${name}`);
    } catch {
      // It has ended, or has more rights than this command.
      return Buffer.alloc(0);
    }
  };
  const variables = read('environ').toString().split('\0');
  const limits = read('limits').toString();
  const limit = (name: string) => {
    const soft = new RegExp(`^Max ${name} +(\\d+)`, 'm').exec(limits)?.[1];
    return soft === undefined ? undefined : Number(soft);
  };
  return {
    environment: Object.fromEntries(
      variables.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    ),
    root: `${folder}/root`,
    interpreter: linuxBinding().inspectProgram(`${folder}/exe`).interpreter,
    secure: auxiliary(read('auxv'), AT_SECURE) === 1n,
    addressSpace: limit('address space'),
    data: limit('data size'),
  };
}

const AT_SECURE = 23n;

/** An entry of the auxiliary vector: pairs of words (getauxval(3)). */
function auxiliary(vector: Buffer, type: bigint): bigint | undefined {
  const words = new BigUint64Array(Uint8Array.from(vector).buffer, 0, Math.floor(vector.length / 16) * 2);
  return words.find((_, at) => at % 2 === 1 && words[at - 1] === type);
}

function obstacles(malloc: ActiveBackend, around: Circumstances, preloaded: Preloaded): Obstacle[] {
  const { interpreter, secure } = around;
  const found: Obstacle[] = [];
  if (malloc.owner === 'static') {
    found.push({ code: 'STATIC', message: `${malloc.path} is static: nothing can be preloaded into it` });
  }
  if (malloc.owner === 'foreign') {
    found.push({
      code: 'FOREIGN_PRELOAD',
      message: `${malloc.path} serves malloc, preloaded or linked by someone else; "run" leaves it out of LD_PRELOAD, and puts the backend before what is linked`,
    });
  }
  const names = [
    ...preloaded.ofEnvironment.map((file) => ['LD_PRELOAD', file] as const),
    ...preloaded.ofSystem.map((file) => [SYSTEM, file] as const),
  ];
  for (const [who, file] of names) {
    if (file !== malloc.path) found.push({ code: 'FOREIGN_PRELOAD', message: namesAllocator(who, file) });
  }
  if (secure) {
    found.push({
      code: 'SECURE',
      message:
        'AT_SECURE is set: the process was started with more rights than its caller, and nothing is preloaded into such',
    });
  }
  if (interpreter?.includes('ld-musl')) {
    found.push({
      code: 'MUSL',
      message: 'the C library is musl: programs built for glibc cannot be switched by this installation',
    });
  }
  const limited = tooSmallForSnmalloc(around);
  if (limited !== undefined) found.push({ code: 'ADDRESS_SPACE', message: limited });
  // (This command's own limits are no matter to another process.)
  const own = tooSmallForSnmalloc(linuxBinding().host());
  const reasons = new Map<string, string[]>();
  for (const { backend, available, surfaces } of backends()) {
    if (backend === 'rust' || (available && surfaces.process.available)) continue;
    const reason = surfaces.process.reason ?? 'not in this build';
    if (reason === own) continue;
    reasons.set(reason, [...(reasons.get(reason) ?? []), backend]);
  }
  for (const [reason, without] of reasons) {
    found.push({ code: 'MISSING', message: `${without.join(', ')}: ${reason}` });
  }
  return found;
}

function describe(diagnosis: Diagnosis): string {
  const { malloc, libc, pageSize } = diagnosis;
  const version = (text: string | undefined) => (text === undefined ? '' : ` ${text}`);
  const who = diagnosis.pid === process.pid ? 'here' : `in process ${diagnosis.pid}`;
  const owners = {
    shim: 'switched by malloc-backend',
    foreign: 'an allocator that is not of this package',
    libc: "the C library's, not switched",
    static: 'a static program',
  } as const;
  const rows = diagnosis.backends.map(({ backend, version: known, surfaces }) => [
    backend,
    known ?? '',
    surfaces.process.available ? 'yes' : `no: ${surfaces.process.reason ?? ''}`,
  ]);
  return [
    ...(malloc === undefined
      ? []
      : [
          style('bold', `malloc ${who}: ${malloc.allocator}${version(malloc.version)}`) +
            ` (${owners[malloc.owner]})`,
          `  ${malloc.path}`,
          '',
        ]),
    `platform   ${diagnosis.platform}, Node ${diagnosis.node}` +
      (pageSize === undefined ? '' : `, ${libc.name}${version(libc.version)}, pages of ${pageSize} bytes`),
    `binaries   ${diagnosis.binaries}`,
    '',
    ...(diagnosis.memory === undefined ? [] : [breakdown(diagnosis.memory), '']),
    table(['backend', 'version', 'can serve a whole process'], rows),
    '',
    ...(diagnosis.obstacles.length === 0
      ? ['Nothing stands in the way.']
      : ['In the way:', ...diagnosis.obstacles.map(({ message }) => `  - ${message}`)]),
  ].join('\n');
}

/** What each part is called; the order is that of the lines. */
const partNames: Record<keyof MemoryParts, string> = {
  v8Heap: 'V8 heap',
  code: 'compiled code',
  arrayBuffers: 'array buffers',
  mallocLive: 'malloc, live',
  mallocCached: 'malloc, cached and fragmented',
  malloc: 'malloc',
  mappedFiles: 'mapped files',
  stacks: "threads' stacks",
  other: 'other',
};

function breakdown({ rss, parts }: MemoryBreakdown): string {
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const percent = (bytes: number) => `${((100 * bytes) / rss).toFixed(1)} %`;
  const rows = Object.entries(partNames).flatMap(([part, name]) => {
    const bytes = parts[part as keyof MemoryParts];
    return bytes === undefined ? [] : [[name, mebibytes(bytes), percent(bytes)]];
  });
  return table(['memory', 'size', 'of RSS'], [...rows, ['RSS', mebibytes(rss), percent(rss)]]);
}
