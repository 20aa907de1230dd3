// docs/deploy.md as the tests of its recipes read it: what they run is the text of the page.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './shims.js';
import { describe, test } from './suite.js';

/** The commands that run the tests, by the mark that a recipe's heading has for each. */
export const MARKS = { '¹': 'npm test', '²': 'npm run test:deploy' } as const;
export type Mark = keyof typeof MARKS;

interface Block {
  language: string;
  text: string;
}

export interface Recipe {
  title: string;
  mark: Mark | undefined;
  /** All that stands below the heading. */
  text: string;
  blocks: Block[];
}

/** What stands below each `##` of a page. */
export function recipesOf(page: string): Recipe[] {
  return page
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const [, title = '', mark] = /^(.*?) ?([¹²])?$/m.exec(section) ?? [];
      const blocks = [...section.matchAll(/^```(\w+)\n([^]*?)^```$/gm)];
      return {
        title,
        mark: mark as Mark | undefined,
        text: section.slice(section.indexOf('\n') + 1),
        blocks: blocks.map(([, language = '', text = '']) => ({ language, text })),
      };
    });
}

export const recipes = recipesOf(readFileSync(join(root, 'docs/deploy.md'), 'utf8'));

/** Gives the recipe's next block in that language, for the tests of the recipe to run. */
export type TakeBlock = (language: string) => string;

/** Declares the tests of one recipe. They take each block of the page, so that none is left without a test. */
export function recipe(title: string, tests: (take: TakeBlock) => void): void {
  const found = recipes.find((each) => each.title === title);
  assert.ok(found, `docs/deploy.md has no recipe ${title}`);
  const left = [...found.blocks];
  const take = (language: string): string => {
    const at = left.findIndex((block) => block.language === language);
    assert.ok(at >= 0, `${title} has no more blocks in ${language}`);
    return left.splice(at, 1)[0]?.text ?? '';
  };
  describe(title, () => {
    tests(take);
    const untested = [...left];
    test('each block of the page is taken by a test', () => assert.deepEqual(untested, []));
  });
}
