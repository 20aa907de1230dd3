// A check of a value by a JSON Schema, for the keywords that this package's schemas use.

import { shown } from './errors.js';
import { didYouMean } from './nearest.js';

/** A JSON Schema. */
export interface Schema {
  readonly $defs?: Readonly<Record<string, Schema>>;
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly minItems?: number;
  readonly items?: Schema;
  readonly prefixItems?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
}

/** What is wrong with the value, with the path of the wrong key: `runs[3].wall must be a number, not "1"`. */
export function mismatch(value: unknown, schema: Schema, root = schema, path = ''): string | undefined {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.replace('#/$defs/', '');
    return mismatch(value, root.$defs![name]!, root, path);
  }
  return wrongValue(value, schema, path || 'the value') ?? wrongPart(value, schema, root, path);
}

/** What is wrong with the value as a whole. */
function wrongValue(value: unknown, schema: Schema, name: string): string | undefined {
  const types = schema.type === undefined ? [] : [schema.type].flat();
  if (types.length > 0 && !types.some((type) => isOf(value, type)))
    return `${name} must be ${types.map((type) => NAMES[type]).join(' or ')}, not ${shown(value)}`;
  const allowed = schema.const === undefined ? schema.enum : [schema.const];
  if (allowed !== undefined && !allowed.includes(value)) {
    const all = allowed.map(shown).join(', ');
    const expected = allowed.length === 1 ? `must be ${all}` : `must be one of ${all}`;
    return `${name} ${expected}, not ${shown(value)}`;
  }
  if (typeof value === 'number') {
    const { minimum = -Infinity, exclusiveMinimum: above = -Infinity } = schema;
    if (value < minimum) return `${name} must be at least ${minimum}, not ${value}`;
    if (value <= above && above !== -Infinity) return `${name} must be more than ${above}, not ${value}`;
  }
  if (Array.isArray(value) && value.length < (schema.minItems ?? 0))
    return `${name} must have at least ${schema.minItems} entries, not ${value.length}`;
  return undefined;
}

/** What is wrong inside an array or object. */
function wrongPart(value: unknown, schema: Schema, root: Schema, path: string): string | undefined {
  if (Array.isArray(value)) {
    for (const [at, item] of value.entries()) {
      const of = schema.prefixItems?.[at] ?? schema.items;
      const wrong = of && mismatch(item, of, root, `${path}[${at}]`);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { properties = {}, required = [], additionalProperties = true } = schema;
  const prefix = path === '' ? '' : `${path}.`;
  for (const [key, item] of Object.entries(value)) {
    const known = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (known === undefined && additionalProperties === false)
      return `there is no key ${prefix}${key}${didYouMean(key, Object.keys(properties), '')}`;
    const of = known ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined);
    const wrong = of && mismatch(item, of, root, `${prefix}${key}`);
    if (wrong !== undefined) return wrong;
  }
  const missing = required.find((key) => !Object.hasOwn(value, key));
  return missing === undefined ? undefined : `${prefix}${missing} is missing`;
}

const NAMES: Readonly<Record<string, string>> = {
  object: 'an object',
  array: 'an array',
  string: 'a string',
  number: 'a number',
  integer: 'an integer',
  boolean: 'true or false',
  null: 'null',
};

function isOf(value: unknown, type: string): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'integer':
      return Number.isInteger(value);
    case 'number':
      return Number.isFinite(value);
    default:
      return typeof value === type;
  }
}
