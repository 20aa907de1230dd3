import type { Subject } from '../../results.js';
import { type Markup, markup } from '../../../html/markup.js';

/** How a subject is drawn: the colour says the backend, shape and dash say the preset. */
export interface Look {
  /** The class that sets the colour. */
  colour: string;
  /** The number of the shape and of the dash. */
  shape: number;
}

/** The colour of each backend on a light ground and on a dark one. Okabe and Ito's hues, which the colour-blind can tell. */
export const COLOURS: Record<Subject['backend'], readonly [light: string, dark: string]> = {
  default: ['#4d5660', '#b3bcc6'],
  jemalloc: ['#0a5fb4', '#6cb6ff'],
  mimalloc: ['#b04a00', '#ff9d4d'],
  snmalloc: ['#007a63', '#3fd0a8'],
};

const PRESETS: readonly string[] = ['none', 'low-rss', 'balanced', 'throughput'];

/** Paths of about eleven pixels around the origin. */
const SHAPES: readonly string[] = [
  'M-4.8,0a4.8,4.8 0 1,0 9.6,0a4.8,4.8 0 1,0 -9.6,0z',
  'M0,5.2L5.4,-4H-5.4z',
  'M-4.3,-4.3h8.6v8.6h-8.6z',
  'M0,-5.2L5.4,4H-5.4z',
  'M0,-6L5.2,0L0,6L-5.2,0z',
  'M-1.9,-5.4h3.8v3.5h3.5v3.8h-3.5v3.5h-3.8v-3.5h-3.5v-3.8h3.5z',
  'M-5.3,-2.7l2.6,-2.6l2.7,2.7l2.7,-2.7l2.6,2.6l-2.7,2.7l2.7,2.7l-2.6,2.6l-2.7,-2.7l-2.7,2.7l-2.6,-2.6l2.7,-2.7z',
  'M0,-5.6L5.4,-1.6L3.3,4.7H-3.3L-5.4,-1.6z',
];

export const DASHES: readonly string[] = [
  'none',
  '8 4',
  '2 3',
  '9 3 2 3',
  '5 2',
  '1 4',
  '14 4',
  '8 2 2 2 2 2',
];

/** A look for each, different as long as there are shapes. */
export function looks(subjects: readonly Subject[]): Map<Subject, Look> {
  const taken = new Map<string, Set<number>>();
  const result = new Map<Subject, Look>();
  // A preset without single options has the preset's shape.
  for (const subject of [...subjects].sort((a, b) => single(a) - single(b))) {
    const used = taken.get(subject.backend) ?? new Set();
    taken.set(subject.backend, used);
    if (used.size === SHAPES.length) used.clear();
    const all = [...SHAPES.keys()];
    const own = PRESETS.indexOf(subject.preset);
    const free = [own, ...all.slice(PRESETS.length), ...all].find((shape) => shape >= 0 && !used.has(shape))!;
    used.add(free);
    result.set(subject, { colour: `b-${subject.backend}`, shape: free });
  }
  return result;
}

const single = ({ set }: Subject): number => Object.keys(set).length;

/** The shapes, which {@link mark} uses. */
export function shapeDefinitions(): Markup {
  const paths = SHAPES.map((path, at) => markup`<path id="shape-${at}" d="${path}"/>`);
  return markup`<svg class="defs" width="0" height="0" aria-hidden="true" focusable="false"><defs>${paths}</defs></svg>`;
}

/** The subject's shape at a place, which may be a percentage. */
export function mark(look: Look, x: string, y: string, more = ''): Markup {
  return markup`<use href="#shape-${look.shape}" x="${x}" y="${y}" class="mark ${more}"/>`;
}

/** The subject's line and shape, as for a legend. */
export function swatch(look: Look): Markup {
  return markup`<svg class="swatch ${look.colour}" width="34" height="14" aria-hidden="true" focusable="false"><line x1="1" y1="7" x2="33" y2="7" class="line dash-${look.shape}"/>${mark(look, '17', '7')}</svg>`;
}
