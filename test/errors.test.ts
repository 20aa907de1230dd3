// docs/errors.md and the code: the same codes, and the messages as they are.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const read = (...path: string[]) => readFileSync(join(root, ...path), 'utf8');

/** All text of the files with such a name in a folder. */
function sources(folder: string, extension: string): string {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(extension))
    .map((file) => read(folder, file))
    .join('\n');
}

const typescript = sources('src', '.ts');
const rust = sources('crates', '.rs');
const page = read('docs', 'errors.md');
const rows = page
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter(([, code]) => /^`ERR_\w+`$/.test(code ?? ''));

describe('docs/errors.md', () => {
  test('has every code of src/errors.ts once, and no other', () => {
    const codes = [...read('src', 'errors.ts').matchAll(/^ {2}\| '(ERR_\w+)'/gm)].map(([, code]) => code);
    assert.ok(codes.length > 30, `${codes.length} codes`);
    assert.deepEqual(rows.map(([, code]) => code!.replaceAll('`', '')).sort(), codes.sort());
  });

  test('has every code of the crates', () => {
    const codes = new Set([...rust.matchAll(/"(ERR_\w+)"/g)].map(([, code]) => code));
    assert.ok(codes.size > 10, `${codes.size} codes`);
    for (const code of codes) assert.ok(page.includes(`\n| \`${code}\``), `${code} of crates has no row`);
  });

  test('has messages that are in the code, and a remedy for each code', () => {
    // A literal that goes on in the next line is one, and its quotes are as they are printed.
    const joined = `${typescript.replace(/['"`] \+\s*['"`]/g, '')}${rust.replace(/\\\n\s*/g, '')}`;
    const code = joined.replaceAll('\\', '');
    const missing: string[] = [];
    for (const [, name, when, messages, remedy] of rows) {
      assert.ok(when && remedy, `${name} says when and what to do`);
      const examples = [...messages!.matchAll(/`([^`]+)`/g)].map(([, example = '']) => example);
      assert.ok(examples.length > 0, `${name} has a message`);
      // A reason behind a colon may be a literal of its own.
      const parts = examples.flatMap((example) => example.split(/<[^>]+>|: /)).map((part) => part.trim());
      missing.push(...parts.filter((part) => !code.includes(part)).map((part) => `${name}: ${part}`));
    }
    assert.deepEqual(missing, [], 'write the messages into docs/errors.md as the code has them');
  });
});
