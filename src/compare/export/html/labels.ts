interface Place {
  x: number;
  y: number;
}

/** A drawing with what is in it already. Everything is in pixels from the upper left corner. */
export interface Drawing {
  width: number;
  height: number;
  /** The points with the labels that would do, the best first. */
  points: readonly (Place & { texts: readonly string[] })[];
  /** The lines that a label should not cover. Each is horizontal or vertical. */
  lines: readonly { from: Place; to: Place }[];
}

export interface Label {
  text: string;
  /** Of the text's anchor, from the point. */
  dx: number;
  dy: number;
  anchor: 'start' | 'middle' | 'end';
}

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** What a character of the labels is wide at most on average, and high. */
const CHARACTER = 7.6;
const LINE = 14;
/** Half of a point's width, with a margin. */
const POINT = 7;

const PLACES: readonly Omit<Label, 'text'>[] = [
  { dx: 10, dy: 4, anchor: 'start' },
  { dx: -10, dy: 4, anchor: 'end' },
  { dx: 0, dy: -11, anchor: 'middle' },
  { dx: 0, dy: 20, anchor: 'middle' },
  { dx: 8, dy: -8, anchor: 'start' },
  { dx: 8, dy: 16, anchor: 'start' },
  { dx: -8, dy: -8, anchor: 'end' },
  { dx: -8, dy: 16, anchor: 'end' },
];

/**
 * A label for each point that covers neither a point nor another label, where there is room for one. It covers a line only
 * where there is no other room.
 */
export function placeLabels({ width, height, points, lines }: Drawing): (Label | undefined)[] {
  const frame: Box = { left: 0, right: width, top: 0, bottom: height };
  const marks = points.map(({ x, y }) => around({ x, y }, { x, y }, POINT));
  const strokes = lines.map(({ from, to }) => around(from, to, 1));
  const labels: Box[] = [];
  return points.map(({ x, y, texts }, at) => {
    const solid = [...marks.filter((_, other) => other !== at), ...labels];
    for (const text of texts) {
      for (const avoided of [[...solid, ...strokes], solid]) {
        for (const place of PLACES) {
          const box = boxOf(x, y, text, place);
          if (!inside(box, frame) || avoided.some((other) => overlap(box, other))) continue;
          labels.push(box);
          return { text, ...place };
        }
      }
    }
    return undefined;
  });
}

const around = (from: Place, to: Place, margin: number): Box => ({
  left: Math.min(from.x, to.x) - margin,
  right: Math.max(from.x, to.x) + margin,
  top: Math.min(from.y, to.y) - margin,
  bottom: Math.max(from.y, to.y) + margin,
});

function boxOf(x: number, y: number, text: string, { dx, dy, anchor }: Omit<Label, 'text'>): Box {
  const width = text.length * CHARACTER;
  const left = x + dx - (anchor === 'start' ? 0 : anchor === 'middle' ? width / 2 : width);
  return { left, right: left + width, top: y + dy - LINE + 3, bottom: y + dy + 3 };
}

const inside = (box: Box, frame: Box): boolean =>
  box.left >= frame.left && box.right <= frame.right && box.top >= frame.top && box.bottom <= frame.bottom;

const overlap = (a: Box, b: Box): boolean =>
  a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
