// The page of a heap profile: what it says, and how a real Chromium shows it.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { diff } from '../src/profile/diff.js';
import { page as render } from '../src/profile/picture/html.js';
import { GROUNDS, THEMES } from '../src/profile/picture/style.js';
import { dataOf } from '../src/profile/picture/read.js';
import { rowsOf, sorted, type Table } from '../src/profile/picture/tables.js';
import { change, figure, share } from '../src/profile/picture/text.js';
import { readProfile } from '../src/profile/pprof.js';
import { Browsing, type Shown, type View, noBrowser, isNoWider, isAccessible } from './support/browser.js';
import { contrast, rgb } from './support/colours.js';
import { HOSTILE, deep, hostile, profileOf, shop, shopBefore, wide } from './support/profiles.js';
import { root } from './support/shims.js';
import { afterAll, beforeAll, describe, test } from './support/suite.js';

const MIB = 2 ** 20;

const read = (bytes: Uint8Array) => readProfile(bytes);
const one = () => render(read(profileOf(shop())));
const two = () => render(read(profileOf(shop())), read(profileOf(shopBefore())));

const CASES: Record<string, () => string> = {
  'a profile': one,
  'a comparison': two,
  'a difference': () => render(read(diff(profileOf(shopBefore()), profileOf(shop())))),
  'nothing in it': () => render(read(profileOf([]))),
  'names with HTML': () => render(read(profileOf(hostile())), read(profileOf(hostile()))),
  'a very deep stack': () => render(read(profileOf(deep(400)))),
  'many stacks': () => render(read(profileOf(wide(5000))), read(profileOf(wide(4000).toReversed()))),
};

/** The text between the tags, without style and scripts. */
const textOf = (html: string): string =>
  html
    .replace(/<(style|script)\b.*?<\/\1>/gs, '')
    .replace(/<wbr>/g, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .replace(/&(quot|#39|lt|gt);/g, (_, name: string) => ({ quot: '"', '#39': "'", lt: '<', gt: '>' })[name]!)
    .replaceAll('&amp;', '&');

const rows = (table: Table, bytes = profileOf(shop()), against?: Uint8Array) => {
  const data = dataOf(read(bytes), against && read(against));
  return sorted(data, rowsOf(data, data.first, table), 'own');
};

describe('the tables', () => {
  test('account memory to the nearest function that is not of Node or native code', () => {
    const own = rows('functions')
      .filter((row) => row.own.after > 0)
      .map((row) => [row.name, row.detail, row.own.after / MIB, row.total.after / MIB]);
    assert.deepEqual(
      own,
      [
        ['keep', 'src/cache.js:18', 38, 38],
        ['pipeline', 'sharp/lib/output.js:1620', 21, 21],
        ['compress', 'compression/index.js:201', 6, 6],
        ['handle', 'src/server.js:40, 42, 51 …', 3, 68],
        ['fit', 'model/train.py:12', 2, 2],
        ['processTicksAndRejections', 'node:internal/process/task_queues:105', 0, 68.25],
        ['(anonymous)', 'src/start.mjs:3', 0.25, 0.25],
      ]
        .filter(([, , mib]) => mib !== 0)
        .toSpliced(5, 0, ['v8::internal::Zone::Expand(unsigned long)', 'node', 1.5, 1.5]),
    );
  });

  test('have the packages of node_modules, with their native code', () => {
    const found = new Map(rows('packages').map((row) => [row.name, row]));
    assert.deepEqual(
      [...found].map(([name, { own, total }]) => [name, own.after / MIB, total.after / MIB]),
      [
        ['Your code', 43.25, 70.25],
        ['sharp', 21, 21],
        ['compression', 6, 6],
        ['Native code of Node and the system', 1.5, 71.75],
        ['Node.js', 0, 68.25],
        ['@img/sharp-libvips-linux-x64', 0, 21],
      ],
    );
  });

  test('have the modules, with short names for those of the program', () => {
    const found = rows('modules').map((row) => row.name);
    assert.deepEqual(found.slice(0, 3), ['src/cache.js', 'sharp/lib/output.js', 'compression/index.js']);
    for (const name of ['libvips-cpp.so.42', 'node', 'src/start.mjs', 'libc.so.6'])
      assert.ok(found.includes(name), `${name} is not in ${found.join(', ')}`);
  });

  test('take a function of V8 for one of Node', () => {
    assert.equal(rows('functions').find(({ name }) => name === 'Promise')?.kind, 'node');
    assert.ok(!rows('packages').some(({ name }) => name === '(v8)'));
  });

  test('count a function that calls itself once', () => {
    for (const row of rows('functions', profileOf(deep(100)))) assert.equal(row.total.after, 4 * MIB);
  });

  test('of a comparison begin with what grew most', () => {
    const changes = rows('functions', profileOf(shop()), profileOf(shopBefore())).map(
      ({ name, own }) => [name, own.after - own.before] as const,
    );
    assert.deepEqual(changes[0]?.[0], 'keep');
    assert.deepEqual(
      changes
        .slice(-2)
        .map(([name]) => name)
        .toSorted(),
      ['job', 'pipeline'],
    );
  });

  test('have figures as people read them, with signs', () => {
    const [bytes, count] = [{ unit: 'bytes' }, { unit: 'count' }];
    assert.deepEqual(
      [0, 1, 1023, 1024, 1_048_575, 39_950_000, 2 ** 43].map((value) => figure(value, bytes)),
      ['0 B', '1 B', '1023 B', '1.0 KiB', '1.0 MiB', '38.1 MiB', '8.0 TiB'],
    );
    assert.deepEqual([figure(1234567, count), figure(-1234, count)], ['1,234,567', '−1,234']);
    assert.deepEqual(
      [change(0, bytes), change(2048, bytes), change(-2048, bytes)],
      ['±0', '+2.0 KiB', '−2.0 KiB'],
    );
    assert.deepEqual(
      [share(1, 3), share(1, 1e6), share(0, 5), share(1, 0)],
      ['33.3 %', '< 0.1 %', '0.0 %', '0 %'],
    );
  });
});

describe('the page', () => {
  for (const [name, make] of Object.entries(CASES))
    test(`with ${name} has no value that is none`, () => {
      const html = make().replace(/<script\b.*?<\/script>/gs, '');
      assert.doesNotMatch(html, /NaN|undefined|Infinity|\[object|null/);
    });

  test('begins with the whole, and says when and how it was made', () => {
    const said = textOf(one());
    assert.match(said, /71\.8 MiB: memory in use/);
    assert.match(
      said,
      /2026-11-18 .* UTC · over 30 s · 7 stacks · one sample in 512\.0 KiB on average · glibc 2\.36/,
    );
    assert.match(textOf(two()), /\+1[0-9]\.\d MiB: memory in use, from \d+\.\d MiB to 71\.8 MiB/);
  });

  test('does not depend on when and where it is made', () => {
    assert.equal(one(), one());
  });

  test('is small', () => {
    assert.ok(one().length < 80_000, String(one().length));
    const many = CASES['many stacks']!();
    assert.ok(many.length < 2_000_000, String(many.length));
  });

  test('has the names of the profile only as text', () => {
    const html = CASES['names with HTML']!();
    assert.equal(html.split('</script>').length, 3);
    assert.equal(html.split('</style>').length, 2);
    assert.ok(!html.includes('<img'));
    assert.ok(!html.includes('<!--'));
  });
});

describe("the page's colours", () => {
  for (const [name, theme] of Object.entries(THEMES))
    test(`can be read in the ${name} theme`, () => {
      const atLeast = (text: string, ground: string) => {
        const found = contrast(rgb(theme[text]!), rgb(theme[ground]!));
        assert.ok(found >= 4.5, `${text} on ${ground}: ${found.toFixed(2)}`);
      };
      for (const ground of [...GROUNDS, 'found', 'card', 'page', 'tint']) atLeast('ink', ground);
      for (const text of ['soft', 'link', 'bad', 'shrunk']) atLeast(text, 'card');
      for (const text of ['soft', 'link']) for (const ground of ['page', 'tint']) atLeast(text, ground);
    });
});

describe('the page in Chromium', { skip: noBrowser }, () => {
  let browsing: Browsing;
  beforeAll(async () => {
    browsing = await Browsing.start();
  });
  afterAll(() => browsing.end());

  const views: Record<string, View> = {
    light: { scheme: 'light' },
    dark: { scheme: 'dark' },
    'on a phone': { width: 360 },
    'on a dark phone': { width: 360, scheme: 'dark' },
  };

  for (const [name, make] of Object.entries(CASES))
    for (const [how, view] of Object.entries(views))
      test(`with ${name}, ${how}: nothing is wrong with it`, async () => {
        const shown = await browsing.show(make(), view);
        await keep(shown, `${name}-${how}`);
        await isNoWider(shown);
        await isAccessible(shown);
        await shown.page.getByRole('searchbox').fill('e');
        await shown.page.locator('#found').filter({ hasText: /match/ }).waitFor();
        await isNoWider(shown);
        await isAccessible(shown);
        assert.deepEqual(shown.requests, []);
        assert.deepEqual(shown.messages, []);
        await shown.page.close();
      });

  /** A picture of it to look at, where a folder for it is named. */
  async function keep({ page }: Shown, name: string): Promise<void> {
    const folder = process.env['SCREENSHOTS'];
    if (folder === undefined) return;
    mkdirSync(join(root, folder), { recursive: true });
    await page.screenshot({ path: join(root, folder, `${name.replaceAll(' ', '-')}.png`), fullPage: true });
  }

  const focused = async ({ page }: Shown) =>
    (await page.evaluate('document.activeElement.getAttribute("aria-label")')) as string;

  test('does not run what is in a name', async () => {
    const { page } = await browsing.show(CASES['names with HTML']!());
    assert.equal(await page.evaluate('document.body.id'), '');
    assert.equal(await page.locator('img, b.x').count(), 0);
    const shown = HOSTILE.replace('\u0000', '\u2400');
    const names = await page.locator('#functions .name').allTextContents();
    assert.ok(names.includes(`f${shown}`), names.join('\n'));
    // The graph has it as the profile has it.
    assert.ok(
      (await page.getByRole('treeitem').allTextContents()).some((text) => text.includes(`g${HOSTILE}`)),
    );
  });

  test('is a tree for the keyboard, with a name for each frame', async () => {
    const shown = await browsing.show(one());
    const { page } = shown;
    assert.equal(await page.locator('[role=treeitem][tabindex="0"]').count(), 1);
    await page.locator('[role=treeitem][tabindex="0"]').focus();
    assert.equal(await focused(shown), 'all, 71.8 MiB, 100.0 %');
    const said: string[] = [];
    for (const key of [
      'ArrowDown',
      'ArrowDown',
      'ArrowDown',
      'ArrowDown',
      'ArrowDown',
      'ArrowDown',
      'ArrowDown',
    ]) {
      await page.keyboard.press(key);
      said.push(await focused(shown));
    }
    assert.equal(said.at(-2), 'handle, src/server.js:42, 38.0 MiB, 53.0 %, your code');
    assert.equal(said.at(-1), 'keep, src/cache.js:18, 38.0 MiB, 53.0 %, your code');
    assert.match(
      await page.locator('#details').innerText(),
      /keep\s+38\.0 MiB, 53\.0 %\s+Your code · \/srv\/shop\/src\/cache\.js:18/,
    );
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('ArrowRight');
    assert.match(await focused(shown), /^handle, src\/server\.js:51, 21\.0 MiB/);
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('End');
    assert.match(await focused(shown), /^node::AllocateUninitialized/);
    await page.keyboard.press('Home');
    assert.match(await focused(shown), /^all/);
    // One stop for the whole tree.
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate('document.activeElement.getAttribute("role")'), 'region');
  });

  test('zooms by a click and by keys, and out again', async () => {
    const shown = await browsing.show(one());
    const { page } = shown;
    const keeper = page.getByRole('treeitem', { name: /^keep/ });
    const widthOf = async () => (await keeper.boundingBox())!.width;
    const tree = (await page.locator('#flame').boundingBox())!.width;
    assert.ok((await widthOf()) < tree * 0.6);
    await keeper.click();
    assert.ok(Math.abs((await widthOf()) - tree) < 1);
    assert.match(await focused(shown), /^keep/);
    assert.equal(await page.locator('#status').textContent(), 'Zoomed to keep');
    await page.keyboard.press('Escape');
    assert.match(await focused(shown), /^handle/);
    await page.getByRole('button', { name: 'Show all' }).click();
    assert.ok((await widthOf()) < tree * 0.6);
    assert.equal(await page.getByRole('button', { name: 'Show all' }).isDisabled(), true);
    await keeper.focus();
    await page.keyboard.press('Enter');
    assert.ok(Math.abs((await widthOf()) - tree) < 1);
  });

  test('searches the graph and the tables', async () => {
    const { page } = await browsing.show(one());
    await page.getByRole('searchbox', { name: /Search/ }).fill('SHARP');
    await page.locator('#found').filter({ hasText: '3 frames match: 21.0 MiB, 29.3 %' }).waitFor();
    assert.equal(await page.locator('.frame.found').count(), 3);
    assert.deepEqual(await page.locator('#packages tbody .name').allTextContents(), [
      'sharp',
      '@img/sharp-libvips-linux-x64',
    ]);
    assert.match((await page.locator('#functions .count').textContent())!, /^1 of \d+ functions$/);
    await page.getByRole('searchbox').fill('no such thing');
    await page.locator('#found').filter({ hasText: 'Nothing matches' }).waitFor();
  });

  test('shows other figures, and sorts', async () => {
    const { page } = await browsing.show(one());
    const types = await page.locator('#type option').allTextContents();
    assert.deepEqual(types, ['Blocks allocated', 'Memory allocated', 'Blocks in use', 'Memory in use']);
    assert.equal(await page.getByLabel('Figures').inputValue(), '3');
    await page.getByLabel('Figures').selectOption('Memory allocated');
    assert.match((await page.getByRole('treeitem').first().getAttribute('aria-label'))!, /^all, 215\.3 MiB/);
    assert.match((await page.locator('#functions tbody td').first().textContent())!, /^114\.0 MiB/);
    const total = page.locator('#functions').getByRole('button', { name: 'Total' });
    await total.click();
    const head = page.locator('#functions th[data-sort=total]');
    assert.equal(await head.getAttribute('aria-sort'), 'descending');
    assert.equal(await page.locator('#functions [aria-sort]').count(), 1);
    await page.locator('#functions').getByRole('button', { name: 'Function' }).click();
    const names = await page.locator('#functions tbody .name').allTextContents();
    assert.deepEqual(
      names,
      names.toSorted((a, b) => (a < b ? -1 : 1)),
    );
  });

  test('says in text what grew and what shrank', async () => {
    const { page } = await browsing.show(two());
    const labels = await page.getByRole('treeitem').evaluateAll((all) => all.map((each) => each.ariaLabel));
    const of = (name: string) => labels.find((label) => label?.includes(`MiB ${name},`));
    assert.match(of('keep')!, /^\+34\.2 MiB keep, src\/cache\.js:18, from 3\.8 MiB to 38\.0 MiB, your code$/);
    assert.match(of('job')!, /^−9\.0 MiB job, src\/job\.js:7, from 9\.0 MiB to 0 B, your code$/);
    const colour = async (name: RegExp) =>
      (await page.getByRole('treeitem', { name }).getAttribute('class'))!;
    assert.match(await colour(/MiB keep,/), /\bmore-3\b/);
    assert.match(await colour(/MiB job,/), /\bless-3\b/);
    assert.match(await colour(/^±0 compress,/), /\bsame\b/);
    const texts = await page.getByRole('treeitem').allTextContents();
    assert.ok(
      texts.some((text) => text.startsWith('+34.2 MiB keep')),
      texts.join('\n'),
    );
    const first = await page.locator('#functions tbody tr').first().innerText();
    assert.match(first, /keep.*\+34\.2 MiB\s+\+34\.2 MiB\s+3\.8 MiB\s+38\.0 MiB/s);
  });

  test('draws only what can be seen', async () => {
    const { page } = await browsing.show(CASES['many stacks']!());
    const count = await page.getByRole('treeitem').count();
    assert.ok(count > 15 && count < 4000, String(count));
    const rows = await page.locator('#functions tbody tr').count();
    assert.equal(rows, 100);
    assert.match((await page.locator('#functions .count').textContent())!, /; the first 100 are shown$/);
  });

  test('draws anew at another width', async () => {
    const { page } = await browsing.show(one());
    const before = await page.getByRole('treeitem').count();
    await page.setViewportSize({ width: 360, height: 800 });
    await page.waitForFunction(`document.querySelectorAll('[role=treeitem]').length < ${before}`);
  });

  test('can be read without its script', async () => {
    const { page } = await browsing.show(one(), { script: false });
    for (const hidden of await page.locator('button, select, input, #flame').all())
      assert.equal(await hidden.isVisible(), false);
    assert.equal(await page.locator('#functions table').isVisible(), true);
    assert.match(await page.locator('noscript').innerText(), /shows the tables of memory in use/);
    assert.match(await page.locator('#functions tbody tr').first().innerText(), /keep/);
  });
});
