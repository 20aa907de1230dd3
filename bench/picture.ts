import type { CompareResults } from '../index.js';
import { mark, shapeDefinitions } from '../src/compare/export/html/looks.js';
import { memoryPlot } from '../src/compare/export/html/memory-chart.js';
import { type Row, rowsOf } from '../src/compare/export/html/rows.js';
import { STYLE } from '../src/compare/export/html/style.js';

const [WIDTH, PLOT] = [860, 340];
const MARGIN = { left: 56, right: 24, top: 28 };
/** The names of the subjects, in columns below the plot. */
const LEGEND = { top: MARGIN.top + PLOT + 56, columns: 4, row: 24 };

/** The rules of the report's style sheet that draw a plot. */
const RULES = STYLE.split('\n').filter((rule) =>
  /^(:root|@media \(prefers-color|\.(b-|dash-|plot|line|mark|area|grid|axis\{)|rect\.phase)/.test(rule),
);

/** RSS over time of all subjects, as an SVG that stands alone. Undefined for runs that are too short. */
export function picture(results: CompareResults): string | undefined {
  const rows = rowsOf(results);
  const found = memoryPlot(results, rows);
  if (found === undefined) return undefined;
  const { plot, memory, time } = found;
  const height = LEGEND.top + Math.ceil(rows.length / LEGEND.columns) * LEGEND.row;
  const bottom = MARGIN.top + PLOT + 36;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<style>${RULES.join('\n')}
text{fill:var(--soft);font:12px system-ui,sans-serif}</style>
<rect width="100%" height="100%" fill="var(--card)"/>
${shapeDefinitions().text}
<text x="${MARGIN.left}" y="16">RSS, ${memory}</text>
<svg x="${MARGIN.left}" y="${MARGIN.top}" width="${WIDTH - MARGIN.left - MARGIN.right}" height="${PLOT}" overflow="visible">${plot.text}</svg>
<text x="${WIDTH - MARGIN.right}" y="${bottom}" text-anchor="end">Time, ${time}</text>
${rows.map(name).join('\n')}
</svg>
`;
}

function name({ id, look }: Row, at: number): string {
  const x = MARGIN.left + (at % LEGEND.columns) * ((WIDTH - MARGIN.left) / LEGEND.columns);
  const y = LEGEND.top + Math.floor(at / LEGEND.columns) * LEGEND.row;
  return `<g class="${look.colour}" transform="translate(${x},${y})"><line x2="34" class="line dash-${look.shape}"/>${mark(look, '17', '0').text}<text x="42" y="4">${id}</text></g>`;
}
