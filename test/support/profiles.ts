// Heap profiles for tests, written by a library that is none of ours.

import { gzipSync } from 'node:zlib';
import {
  Function,
  Label,
  Line,
  Location,
  Mapping,
  Profile,
  Sample,
  StringTable,
  ValueType,
} from 'pprof-format';

export interface FrameOf {
  name?: string;
  file?: string;
  line?: number;
  /** The mapped file, for native code. */
  library?: string;
  /** Functions that are inlined into this one, the innermost first. */
  inlined?: FrameOf[];
  /** The offset in the library. */
  at?: number;
}

export interface StackOf {
  /** The allocation first. */
  frames: FrameOf[];
  /** Of memory in use, in bytes; the other figures follow from them, if they are not given. */
  bytes: number;
  values?: number[];
  thread?: string;
}

export const TYPES = [
  ['alloc_objects', 'count'],
  ['alloc_space', 'bytes'],
  ['inuse_objects', 'count'],
  ['inuse_space', 'bytes'],
] as const;

/** The bytes of a profile, as a profiler writes them. `base` is where the first library is mapped. */
export function profileOf(
  stacks: readonly StackOf[],
  {
    base = 0x7f00_0000_0000n,
    compressed = true,
    types = TYPES as readonly (readonly [string, string])[],
  } = {},
): Uint8Array {
  const strings = new StringTable();
  const text = (value: string) => strings.dedup(value);
  const mappings: Mapping[] = [];
  const functions: Function[] = [];
  const locations: Location[] = [];
  const numbers = new Map<string, number>();
  const once = (key: string, make: (id: number) => void, list: readonly unknown[]): number => {
    let id = numbers.get(key);
    if (id === undefined) {
      id = list.length + 1;
      numbers.set(key, id);
      make(id);
    }
    return id;
  };
  const mappingOf = (library: string) =>
    once(
      `mapping ${library}`,
      (id) => {
        const memoryStart = base + BigInt(id) * 0x1000_0000n;
        mappings.push(
          new Mapping({
            id,
            memoryStart,
            memoryLimit: memoryStart + 0x100_0000n,
            fileOffset: 0x1000,
            filename: text(library),
            buildId: text(`build-${library.length}`),
            hasFunctions: true,
          }),
        );
      },
      mappings,
    );
  const functionOf = ({ name = '', file = '' }: FrameOf) =>
    once(
      `function ${name} ${file}`,
      (id) => {
        functions.push(new Function({ id, name: text(name), systemName: text(name), filename: text(file) }));
      },
      functions,
    );
  const locationOf = (frame: FrameOf) =>
    once(
      `location ${JSON.stringify(frame)}`,
      (id) => {
        const mappingId = frame.library === undefined ? 0 : mappingOf(frame.library);
        const start = mappings.find((each) => each.id === mappingId)?.memoryStart ?? 0n;
        const lines = frame.name === undefined ? [] : [...(frame.inlined ?? []), frame];
        locations.push(
          new Location({
            id,
            mappingId,
            address: BigInt(start) + BigInt(frame.at ?? id * 16),
            line: lines.map((each) => new Line({ functionId: functionOf(each), line: each.line ?? 0 })),
          }),
        );
      },
      locations,
    );
  const samples = stacks.map(({ frames, bytes, values, thread }) => {
    const blocks = Math.ceil(Math.abs(bytes) / 65_536) * Math.sign(bytes);
    return new Sample({
      locationId: frames.map(locationOf),
      value: values ?? [blocks * 3, bytes * 3, blocks, bytes],
      label: thread === undefined ? [] : [new Label({ key: text('thread'), str: text(thread) })],
    });
  });
  const profile = new Profile({
    sampleType: types.map(([type, unit]) => new ValueType({ type: text(type), unit: text(unit) })),
    sample: samples,
    mapping: mappings,
    location: locations,
    function: functions,
    timeNanos: 1_795_000_000_000_000_000n,
    durationNanos: 30_000_000_000n,
    periodType: new ValueType({ type: text('space'), unit: text('bytes') }),
    period: 524_288,
    comment: [text('glibc 2.36')],
    defaultSampleType: text('inuse_space'),
    stringTable: strings,
  });
  const bytes = profile.encode();
  return compressed ? gzipSync(bytes) : bytes;
}

const MIB = 2 ** 20;
const NODE = '/usr/local/bin/node';
const APP = '/srv/shop/src';

const native = (name: string): FrameOf => ({ name, library: NODE });
const script = (name: string, file: string, line: number): FrameOf => ({ name, file, line });

const OUTSIDE: FrameOf[] = [
  script('processTicksAndRejections', 'node:internal/process/task_queues', 105),
  native('node::InternalCallbackScope::Close(bool)'),
  native('uv_run'),
  native('node::SpinEventLoop(node::Environment*)'),
  { library: '/usr/lib/x86_64-linux-gnu/libc.so.6', at: 0x271ca },
];
const BUFFER: FrameOf[] = [
  native('node::AllocateUninitialized(unsigned long)'),
  {
    ...script('alloc', 'node:buffer', 381),
    inlined: [script('createUnsafeBuffer', 'node:internal/buffer', 1067)],
  },
];
const VIPS = '/srv/shop/node_modules/@img/sharp-libvips-linux-x64/lib/libvips-cpp.so.42';

/** As a shop has it, whose cache grows: JavaScript, packages, native code with and without names, Python. */
export function shop(factor = 1): StackOf[] {
  return [
    {
      frames: [
        ...BUFFER,
        script('keep', `${APP}/cache.js`, 18),
        script('handle', `${APP}/server.js`, 42),
        ...OUTSIDE,
      ],
      bytes: Math.round(38 * MIB * factor),
      thread: 'main',
    },
    {
      frames: [...BUFFER, script('handle', `${APP}/server.js`, 40), ...OUTSIDE],
      bytes: 3 * MIB,
      thread: 'main',
    },
    {
      frames: [
        { library: VIPS, at: 0x1234 },
        { name: 'vips_image_write_to_memory', library: VIPS },
        { name: '~~~ queued by', library: NODE },
        script('pipeline', '/srv/shop/node_modules/sharp/lib/output.js', 1620),
        script('Promise', '(v8)', 0),
        script('thumbnail', `${APP}/images.js`, 9),
        script('handle', `${APP}/server.js`, 51),
        ...OUTSIDE,
      ],
      bytes: 21 * MIB,
      thread: 'worker 3',
    },
    {
      frames: [
        native('node::zlib::ZlibContext::Init()'),
        script('Zlib', 'node:zlib', 690),
        script('createGzip', 'node:zlib', 812),
        script('compress', '/srv/shop/node_modules/compression/index.js', 201),
        script('handle', `${APP}/server.js`, 60),
        ...OUTSIDE,
      ],
      bytes: 6 * MIB,
      thread: 'main',
    },
    {
      frames: [
        { name: 'PyObject_Malloc', library: '/usr/lib/libpython3.11.so.1.0' },
        script('fit', '/srv/shop/model/train.py', 12),
        ...OUTSIDE.slice(2),
      ],
      bytes: 2 * MIB,
      thread: 'python',
    },
    { frames: [native('v8::internal::Zone::Expand(unsigned long)'), ...OUTSIDE.slice(1)], bytes: 1.5 * MIB },
    { frames: [script('(anonymous)', 'file:///srv/shop/src/start.mjs', 3), ...OUTSIDE], bytes: 0.25 * MIB },
  ];
}

/** The same shop before: the cache was small, the images were more, and a job has ended since. */
export function shopBefore(): StackOf[] {
  const stacks = shop(0.1);
  stacks[2]!.bytes = 30 * MIB;
  stacks.push({ frames: [...BUFFER, script('job', `${APP}/job.js`, 7), ...OUTSIDE], bytes: 9 * MIB });
  return stacks;
}

export const HOSTILE = `</script></style></title><!--<img src=x onerror="document.body.id='injected'"><b class='x'>&amp;\u0000\u202e`;

/** Everywhere that a program can put text. */
export function hostile(): StackOf[] {
  return [
    {
      frames: [
        { name: `f${HOSTILE}`, file: `/srv/${HOSTILE}/a.js`, line: 3 },
        { name: `g${HOSTILE}`, file: `/srv/node_modules/${HOSTILE}/b.js`, line: 2 ** 31 },
        { name: `h${HOSTILE}`, library: `/lib/${HOSTILE}.so` },
        { library: `/lib/${HOSTILE}.so` },
        { name: '', file: '' },
        { name: '__proto__', file: 'constructor', line: 1 },
      ],
      bytes: 5 * MIB,
      thread: HOSTILE,
    },
  ];
}

/** A stack of so many frames. */
export function deep(frames: number): StackOf[] {
  return [
    {
      frames: Array.from({ length: frames }, (_, at) => script(`recurse${at % 7}`, `${APP}/deep.js`, at % 7)),
      bytes: 4 * MIB,
    },
  ];
}

/** So many different stacks, as in a large program. */
export function wide(stacks: number): StackOf[] {
  return Array.from({ length: stacks }, (_, at) => ({
    frames: [
      native('malloc'),
      script(`leaf${at}`, `${APP}/lib/file${at % 50}.js`, at),
      script(`middle${at % 97}`, `${APP}/lib/file${at % 50}.js`, at % 97),
      script(`top${at % 13}`, `/srv/shop/node_modules/package-${at % 13}/index.js`, at % 13),
      ...OUTSIDE,
    ],
    bytes: ((at * 7919) % 1000) * 1024 + 512,
  }));
}
