/** Text that is HTML already. Everything else is escaped where it is put into markup. */
export class Markup {
  constructor(readonly text: string) {}

  toString(): string {
    return this.text;
  }
}

export type Content = Markup | string | number | false | undefined | readonly Content[];

/** HTML, in which each value is escaped. */
export function markup(strings: TemplateStringsArray, ...values: readonly Content[]): Markup {
  return new Markup(strings.map((text, at) => (at === 0 ? text : rendered(values[at - 1]) + text)).join(''));
}

function rendered(value: Content): string {
  if (value === undefined || value === false) return '';
  if (value instanceof Markup) return value.text;
  if (typeof value === 'string') return escaped(value);
  if (typeof value === 'number') return rounded(value);
  return value.map(rendered).join('');
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** As text or as the value of an attribute. A control character, which HTML does not allow, becomes its symbol. */
function escaped(text: string): string {
  return text
    .replace(/\p{Surrogate}/gu, '\ufffd')
    .replace(/[\0-\x08\x0b-\x1f]/g, (character) => String.fromCharCode(0x2400 + character.charCodeAt(0)))
    .replace(/\x7f/g, '\u2421')
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

/** Two decimals are enough for a coordinate. */
function rounded(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`${value} cannot be drawn`);
  return String(Math.round(value * 100) / 100);
}

/** Text that may break after each of the characters between the parts of a name. */
export function breakable(text: string): Markup {
  return markup`${text.split(/(?<=[/,=:.])/).map((part, at) => markup`${at > 0 && markup`<wbr>`}${part}`)}`;
}
