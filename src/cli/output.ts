/** Colour and tables are for people: where standard output is no terminal there is neither. */

const codes = { bold: [1, 22], dim: [2, 22] } as const;

function forPeople(): boolean {
  return process.stdout.isTTY === true;
}

/** The text in that style, on a terminal that wants colour (https://no-color.org). */
export function style(name: keyof typeof codes, text: string): string {
  if (!forPeople() || process.env['NO_COLOR'] || process.env['TERM'] === 'dumb') return text;
  const [on, off] = codes[name];
  return `\u001b[${on}m${text}\u001b[${off}m`;
}

/** Columns in line on a terminal; elsewhere separated by tabs and without a head, for `cut` and `awk`. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (!forPeople()) return rows.map((row) => row.join('\t')).join('\n');
  const widths = head.map((cell, column) =>
    Math.max(cell.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [style('dim', line(head)), ...rows.map(line)].join('\n');
}
