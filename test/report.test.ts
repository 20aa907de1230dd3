// The HTML report of `compare`: what it says, and how a real Chromium shows it.

import assert from 'node:assert/strict';
import { renderHtml } from '../src/compare/export/html.js';
import { COLOURS } from '../src/compare/export/html/looks.js';
import { THEMES } from '../src/compare/export/html/style.js';
import type { CompareResults, Run } from '../src/compare/results.js';
import { Browsing, type Shown, type View, noBrowser, isAccessible, isNoWider } from './support/browser.js';
import { type Rgb, contrast, distance, rgb, seenBy } from './support/colours.js';
import { compared } from './support/compared.js';
import { afterAll, beforeAll, describe, test } from './support/suite.js';

const MIB = 2 ** 20;

const HOSTILE = `</script></style></title><img src=x onerror="document.body.id='injected'"><b class='x'>&amp;\u0000\u202e`;
const LONG = `jemalloc/low-rss,${'a_name_without_any_place_to_break_'.repeat(12)}=1`;

/** Everywhere that a user, a machine or a program can put text. */
function hostile(): CompareResults {
  const results = compared({
    mode: 'service',
    subjects: ['default/none', 'jemalloc/low-rss', 'mimalloc/none'],
  });
  const text = JSON.stringify(results, (key, value: unknown) => {
    if (
      [
        'version',
        'library',
        'cpu',
        'kernel',
        'libc',
        'node',
        'governor',
        'sentence',
        'message',
        'code',
        'ready',
        'load',
      ].includes(key)
    )
      return typeof value === 'string' ? `${value}${HOSTILE}` : value;
    if (key === 'command' || key === 'dockerfile') return [`run${HOSTILE}`, '--x', "it's"];
    return value === 'jemalloc/low-rss' ? `jemalloc/low-rss,x=${HOSTILE}` : value;
  });
  const parsed = JSON.parse(text) as CompareResults;
  return { ...parsed, tool: `malloc-backend${HOSTILE}`, created: HOSTILE };
}

/** As after a run that could not be measured well: figures are missing, and one is no number. */
function holes(): CompareResults {
  const results = compared({ mode: 'service' });
  for (const [at, summary] of results.summaries.entries()) {
    if (at % 2 === 0) delete summary.metrics.rssAfterIdle;
    if (at % 3 === 0) delete summary.against;
    if (at === 1) summary.metrics.p99 = { median: NaN, low: NaN, high: NaN, n: 0 };
    // JSON has null for what is no number.
    if (at === 2) summary.metrics.cpu = JSON.parse('{"median":null,"low":null,"high":null,"n":0}') as never;
  }
  for (const [at, run] of results.runs.entries()) {
    if (at % 4 === 0) run.samples = [];
    if (at % 4 === 1) run.samples.length = 1;
    if (at % 5 === 0) delete run.service;
    if (at % 7 === 0) run.wall = NaN;
    if (at % 6 === 0 && run.service !== undefined) run.service.histogram = [];
  }
  return { ...results, finished: false };
}

function longNames(): CompareResults {
  const ids = ['default/none', LONG, ...Array.from({ length: 6 }, (_, at) => `${LONG}${at}`)];
  return compared({ subjects: ids, command: ['node', 'x'.repeat(5000)] });
}

/** All samples and figures are 0, and nothing differs. */
function zeros(): CompareResults {
  const results = compared({ rounds: 6 });
  const text = JSON.stringify(results, (_, value: unknown) => value);
  const parsed = JSON.parse(text) as CompareResults;
  for (const run of parsed.runs) {
    Object.assign(run, { wall: 0, user: 0, system: 0, peakRss: 0, treePeakRss: 0, meanRss: 0 });
    run.samples = run.samples.map((sample) => ({ ...sample, at: 0, rss: 0, treeRss: 0, cpu: 0 }));
  }
  for (const { metrics, against } of parsed.summaries) {
    for (const estimate of Object.values(metrics)) Object.assign(estimate, { median: 0, low: 0, high: 0 });
    for (const each of Object.values(against ?? {}))
      Object.assign(each, { ratio: NaN, low: NaN, high: NaN, p: 1, verdict: 'undecided' });
  }
  return parsed;
}

const CASES: Record<string, () => CompareResults> = {
  'seven subjects': () => compared(),
  'a service': () => compared({ mode: 'service' }),
  '1 row': () => compared({ subjects: 1 }),
  '40 rows': () => compared({ subjects: 40 }),
  'a service with 40 rows': () => compared({ subjects: 40, mode: 'service', rounds: 4 }),
  'no run yet': () => compared({ rounds: 0 }),
  'one round': () => compared({ rounds: 1, subjects: 3 }),
  'very long names': longNames,
  'names with HTML': hostile,
  'missing figures': holes,
  'nothing but zeros': zeros,
};

/** The text between the tags, without style and script. */
const textOf = (html: string): string =>
  html
    .replace(/<(style|script)>.*?<\/\1>/gs, '')
    .replace(/<wbr>/g, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .replace(/&(quot|#39|lt|gt);/g, (_, name: string) => ({ quot: '"', '#39': "'", lt: '<', gt: '>' })[name]!)
    .replaceAll('&amp;', '&');

describe('the report', () => {
  for (const [name, make] of Object.entries(CASES)) {
    test(`with ${name} has no value that is none`, () => {
      const html = renderHtml(make()).replace(/<script>.*<\/script>/s, '');
      assert.doesNotMatch(html, /NaN|undefined|Infinity|\[object|null/);
    });
  }

  test('does not depend on when and where it is made', () => {
    assert.equal(renderHtml(compared()), renderHtml(compared()));
  });

  test('is small', () => {
    assert.ok(renderHtml(compared()).length < 120_000);
    assert.ok(renderHtml(compared({ subjects: 40 })).length < 600_000);
  });

  test('begins with the advice and the lines of the Dockerfile', () => {
    const results = compared();
    const html = renderHtml(results);
    const { sentence, dockerfile } = results.advice!;
    const said = textOf(html);
    assert.ok(textOf(/<h1[^>]*>.*?<\/h1>/s.exec(html)![0]).includes(sentence));
    assert.ok(said.includes(dockerfile!.join(' ')));
    assert.ok(said.indexOf('Apply it') < said.indexOf('Medians with'));
  });

  test('says the verdict in words, and what is better', () => {
    const results = compared({ mode: 'service', subjects: 3 });
    const verdicts = ['lower', 'higher', 'no difference', 'undecided'] as const;
    const [one, other] = results.summaries.slice(1);
    for (const [at, name] of (['cpu', 'throughput', 'p50', 'p99'] as const).entries()) {
      one!.against![name]!.verdict = verdicts[at]!;
      other!.against![name]!.verdict = verdicts[(at + 1) % 4]!;
    }
    const row = (id: string) =>
      renderHtml(results)
        .split('<tr role="row"')
        .slice(1)
        .find((text) => text.includes(id.replace('/', '/<wbr>')))!;
    const changes = [...row(one!.subject).matchAll(/class="change (\w+)">.*?class="verdict">([^<]+)</gs)];
    const kinds = new Map(changes.slice(3, 7).map(([, kind, verdict]) => [verdict, kind]));
    assert.deepEqual([...kinds.keys()], verdicts);
    // Less CPU time and more throughput are good.
    assert.equal(kinds.get('lower'), 'good');
    assert.equal(kinds.get('higher'), 'good');
    assert.equal(kinds.get('no difference'), 'none');
    assert.equal(kinds.get('undecided'), 'none');
    assert.match(renderHtml(results), /Throughput, \/s<small>higher is better/);
  });

  test('names the machine, the versions, the command, the date and how to reproduce', () => {
    const results = compared({ mode: 'service' });
    const said = textOf(renderHtml(results));
    const { machine, tool, subjects } = results;
    for (const word of [
      machine.cpu,
      machine.kernel,
      machine.libc,
      machine.node,
      tool,
      subjects[0]!.version,
      '24.0 GiB',
    ])
      assert.ok(said.includes(word), word);
    assert.ok(said.includes('2026-11-30 01:40 UTC'));
    assert.ok(
      said.includes(
        'malloc-backend compare \\ --budget 10m \\ --warmup 1 \\ --interval 20ms \\ --seed 20261130 \\ --service \\ --ready 8080 \\ --load http://127.0.0.1:8080/ \\ --rate 500 \\ --connections 50 \\ --duration 4s \\ --warmup-load 2500ms \\ --idle 3s \\ -- node server.js --port 8080',
      ),
    );
    for (const { message } of results.warnings) assert.ok(said.includes(message), message);
  });

  test('reproduces a load without a rate as one at full speed', () => {
    const results = compared({ mode: 'service', rounds: 0 });
    const { rate: _, ...service } = results.options.service!;
    const said = textOf(renderHtml({ ...results, options: { ...results.options, service } }));
    assert.ok(said.includes('--rate max \\ --connections 50'));
    const { connections: __, duration: ___, ...command } = { ...service, load: 'oha -n 9 http://a/' };
    const other = textOf(renderHtml({ ...results, options: { ...results.options, service: command } }));
    assert.ok(other.includes("--load 'oha -n 9 http://a/' \\ --warmup-load"));
  });

  test('reproduces other subjects one by one, with quotes where the shell needs them', () => {
    const results = compared({
      subjects: ['default/none', 'jemalloc/low-rss,narenas=1'],
      command: ['sh', '-c', "echo 'a b' $x"],
    });
    const said = textOf(renderHtml({ ...results, baseline: 'jemalloc/low-rss,narenas=1' }));
    assert.ok(
      said.includes(
        'compare \\ --subject default/none \\ --subject jemalloc/low-rss,narenas=1 \\ --baseline jemalloc/low-rss,narenas=1 \\',
      ),
    );
    assert.ok(said.includes(String.raw`-- sh -c 'echo '\''a b'\'' $x'`), said);
  });

  test('has the subject with the least memory first, and those without a figure last', () => {
    const results = compared();
    results.summaries.find(({ subject }) => subject === 'jemalloc/low-rss')!.metrics = {};
    const rows = renderHtml(results).split('<tr role="row" ').slice(1);
    const order = rows.map((row) => /class="name">(.*?)<\/span>/.exec(row)![1]!.replaceAll('<wbr>', ''));
    const memory = (id: string) =>
      results.summaries.find(({ subject }) => subject === id)!.metrics.treePeakRss?.median ?? Infinity;
    assert.equal(order.length, 7);
    assert.equal(order.at(-1), 'jemalloc/low-rss');
    assert.deepEqual(
      order,
      order.toSorted((a, b) => memory(a) - memory(b)),
    );
  });

  test('without advice and unfinished says so', () => {
    const { advice: _, ...results } = compared({ rounds: 2 });
    const said = textOf(renderHtml({ ...results, finished: false }));
    assert.match(
      said,
      /There are too few rounds for advice .* Not finished\. The figures are those of the runs so far/,
    );
  });
});

/** The cells of the table behind a chart, with its head. */
function tableOf(html: string, id: string): string[][] {
  const section = html.slice(html.indexOf(`<section id="${id}"`)).split('</section>')[0]!;
  const table = section.slice(section.lastIndexOf('<table'));
  return table
    .split('<tr')
    .slice(1)
    .map((row) =>
      row
        .split(/<t[hd]/)
        .slice(1)
        .map((cell) => textOf(`<t${cell}`).trim()),
    );
}

/** Two subjects, whose runs are as given. */
function made(
  runs: {
    subject: 'default/none' | 'jemalloc/none';
    wall: number;
    samples: [at: number, mib: number][];
    children?: number;
  }[],
): CompareResults {
  const results = compared({ rounds: 1, subjects: ['default/none', 'jemalloc/none'] });
  const whole = runs.map(({ subject, wall, samples, children = 0 }, at): Run => ({
    ...results.runs[0]!,
    subject,
    round: at + 1,
    wall,
    samples: samples.map(([at, mib]) => ({ at, rss: mib * MIB, treeRss: (mib + children) * MIB, cpu: 0 })),
  }));
  const { advice: _, ...rest } = results;
  return { ...rest, runs: whole, summaries: [] };
}

describe("the report's curves", () => {
  test('are medians over runs of different length, each stretched to the median length', () => {
    // Of the same form, but for a run that is slower, and one that is higher.
    const form = (wall: number, mib: number): [number, number][] => [
      [0, 0],
      [wall * 500, mib],
      [wall * 1000, 100],
    ];
    const html = renderHtml(
      made([
        { subject: 'default/none', wall: 2, samples: form(2, 400) },
        { subject: 'default/none', wall: 1, samples: form(1, 300) },
        { subject: 'default/none', wall: 2, samples: form(2, 900) },
        { subject: 'jemalloc/none', wall: 1, samples: form(1, 200) },
      ]),
    );
    const [head, ...rows] = tableOf(html, 'memory');
    assert.deepEqual(head, ['Time, s', 'default/none', 'jemalloc/none']);
    const at = (time: string) => rows.find(([first]) => first === time)?.slice(1);
    assert.deepEqual(at('0.5'), ['200', '200']);
    assert.deepEqual(at('1.0'), ['400', '100']);
    assert.deepEqual(at('2.0'), ['100', '– ended']);
  });

  test('are of the program with its children, where there are any', () => {
    const samples: [number, number][] = [
      [0, 10],
      [1000, 10],
    ];
    const alone = made([{ subject: 'default/none', wall: 1, samples }]);
    const both = made([{ subject: 'default/none', wall: 1, samples, children: 30 }]);
    assert.match(textOf(renderHtml(alone)), /RSS of the program\. default\/none with 10\.0 MiB/);
    assert.match(
      textOf(renderHtml(both)),
      /RSS of the program and its children\. default\/none with 40\.0 MiB/,
    );
  });

  test("of a service are aligned at the phases' borders", () => {
    const results = compared({ mode: 'service', rounds: 2, subjects: ['default/none'] });
    const [first, second] = results.runs;
    const step = (ready: number, load: number): [number, number][] => [
      [0, 1],
      [ready, 1],
      [ready + 1, 50],
      [load, 50],
      [load + 1, 7],
      [9000, 7],
    ];
    const set = (run: Run, ready: number, load: number) => {
      run.samples = step(ready, load).map(([at, mib]) => ({
        at,
        rss: mib * MIB,
        treeRss: mib * MIB,
        cpu: 0,
      }));
      run.service!.phases = { ready, loadStart: ready + 1000, loadEnd: load, idleEnd: 9000 };
    };
    set(first!, 1000, 5000);
    set(second!, 3000, 7000);
    const rows = tableOf(renderHtml(results), 'memory');
    const phases = new Map(rows.slice(1).map(([time, phase, value]) => [time, `${phase} ${value}`]));
    // The medians: ready at 2 s, load from 3 to 6 s, then idle. Without alignment a median of 25.5 MiB would be among them.
    assert.equal(phases.get('1.5'), 'start 1.0');
    assert.equal(phases.get('2.5'), 'warm-up 50.0');
    assert.equal(phases.get('5.5'), 'load 50.0');
    assert.equal(phases.get('6.5'), 'idle 7.0');
    assert.match(
      textOf(renderHtml(results)),
      /start to 2\.00 s, warm-up to 3\.00 s, load to 6\.00 s, idle to 9\.00 s/,
    );
  });

  test('of latency are the medians of each percentile', () => {
    const results = compared({ mode: 'service', rounds: 3, subjects: ['default/none'] });
    for (const [at, run] of results.runs.entries())
      run.service!.histogram = [
        [50, 1 + at],
        [90, 2 + at],
        [99, 10 * (at + 1)],
        [100, 100 * (at + 1)],
      ];
    const [head, row] = tableOf(renderHtml(results), 'latency');
    assert.deepEqual(head, [
      'Subject',
      'p50',
      'p75',
      'p90',
      'p95',
      'p99',
      'p99.9',
      'p99.99',
      'p99.999',
      'Highest',
    ]);
    assert.deepEqual(row?.slice(1), [
      '2.0',
      '3.0',
      '3.0',
      '20.0',
      '20.0',
      '200.0',
      '200.0',
      '200.0',
      '200.0',
    ]);
  });

  test('of the Pareto front are those that no other beats in both', () => {
    const results = compared({ subjects: 5 });
    const figures: [cpu: number, mib: number][] = [
      [10, 100],
      [8, 120],
      [8, 130],
      [12, 90],
      [11, 100],
    ];
    for (const [at, { metrics }] of results.summaries.entries()) {
      const [cpu, mib] = figures[at]!;
      metrics.cpu = { median: cpu, low: cpu, high: cpu, n: 3 };
      metrics.peakRss = metrics.treePeakRss = { median: mib * MIB, low: mib * MIB, high: mib * MIB, n: 3 };
    }
    const rows = new Map(tableOf(renderHtml(results), 'plane').map((cells) => [cells[0], cells.at(-1)]));
    assert.deepEqual(
      results.subjects.map(({ id }) => rows.get(id)),
      ['yes', 'yes', 'no', 'yes', 'no'],
    );
  });

  test('of single runs have their quartiles behind them', () => {
    const results = compared({ rounds: 5, subjects: ['default/none'] });
    for (const [at, run] of results.runs.entries()) run.wall = [3, 1, 5, 2, 4][at]!;
    const [, row] = tableOf(renderHtml(results), 'times-wall');
    assert.deepEqual(row?.slice(1), [
      '5',
      '1.00',
      '2.00',
      '3.00',
      '4.00',
      '5.00',
      '3.00 1.00 5.00 2.00 4.00',
    ]);
  });
});

describe("the report's colours", () => {
  const grounds = ['page', 'card', 'tint', 'better', 'notice'];
  for (const [name, theme] of Object.entries(THEMES)) {
    test(`can be read in the ${name} theme`, () => {
      for (const text of ['ink', 'soft', 'link', 'good', 'bad'])
        for (const ground of grounds) {
          const found = contrast(rgb(theme[text]!), rgb(theme[ground]!));
          assert.ok(found >= 4.5, `${text} on ${ground}: ${found.toFixed(2)}`);
        }
      for (const backend of Object.keys(COLOURS)) {
        const found = contrast(rgb(theme[`b-${backend}`]!), rgb(theme['card']!));
        assert.ok(found >= 4.5, `${backend}: ${found.toFixed(2)}`);
      }
    });

    test(`can be told apart by the colour-blind in the ${name} theme`, () => {
      const colours = Object.keys(COLOURS).map((backend): [string, Rgb] => [
        backend,
        rgb(theme[`b-${backend}`]!),
      ]);
      for (const eyes of ['all cones', 'protanopia', 'deuteranopia', 'tritanopia'] as const)
        for (const [at, [one, colour]] of colours.entries())
          for (const [other, second] of colours.slice(at + 1)) {
            const found = distance(seenBy(eyes, colour), seenBy(eyes, second));
            assert.ok(found >= 10, `${one} and ${other}, ${eyes}: ${found.toFixed(1)}`);
          }
    });
  }
});

describe('the report in Chromium', { skip: noBrowser }, () => {
  let browsing: Browsing;
  beforeAll(async () => {
    browsing = await Browsing.start();
  });
  afterAll(() => browsing.end());

  const views: Record<string, View> = {
    light: { scheme: 'light' },
    'on a dark phone': { width: 360, scheme: 'dark' },
    dark: { scheme: 'dark' },
    'on a phone': { width: 360 },
  };
  /** Those whose layout is that of another one. */
  const INPUTS = ['very long names', 'names with HTML', 'missing figures', 'nothing but zeros'];

  for (const [name, make] of Object.entries(CASES)) {
    for (const [how, view] of Object.entries(views).slice(0, INPUTS.includes(name) ? 2 : 4)) {
      test(`with ${name}, ${how}: nothing is wrong with it`, async () => {
        const shown = await browsing.show(renderHtml(make()), view);
        await fits(shown);
        // The tables behind the charts, too.
        await shown.page.evaluate(
          'document.querySelectorAll("details").forEach((each) => (each.open = true))',
        );
        await fits(shown);
        await isAccessible(shown);
        assert.deepEqual(shown.requests, []);
        assert.deepEqual(shown.messages, []);
        await shown.page.close();
      });
    }
  }

  async function fits(shown: Shown): Promise<void> {
    await isNoWider(shown);
    const labels = await shown.page.evaluate(BAD_LABELS);
    assert.deepEqual(labels, [], 'labels of the charts cover one another, or leave the page');
  }

  test('does not run what is in a name', async () => {
    const { page } = await browsing.show(renderHtml(hostile()));
    assert.equal(await page.evaluate('document.body.id'), '');
    assert.equal(await page.locator('img, b.x').count(), 0);
    assert.equal(await page.locator('script').count(), 1);
    assert.equal(
      await page.title(),
      'Allocators compared: ' + (await page.locator('header .command').innerText()).trim(),
    );
    // A quote does not end an attribute.
    const shown = HOSTILE.replace('\u0000', '\u2400');
    const generator = await page.locator('meta[name=generator]').getAttribute('content');
    assert.equal(generator, `malloc-backend${shown}`);
    assert.equal(await page.locator('header time').getAttribute('datetime'), shown);
    assert.match(await page.locator('h1').innerText(), /<\/script><\/style><\/title><img src=x/);
  });

  test('has its headings in order, a language, and a name and a description for each chart', async () => {
    const { page } = await browsing.show(renderHtml(CASES['a service']!()));
    const levels = (await page.evaluate(
      '[...document.querySelectorAll("h1,h2,h3,h4")].map((each) => Number(each.tagName[1]))',
    )) as number[];
    assert.equal(levels[0], 1);
    for (const [at, level] of levels.slice(1).entries())
      assert.ok(level > 1 && level - levels[at]! <= 1, String(levels));
    assert.equal(await page.locator('html').getAttribute('lang'), 'en');
    const charts = (await page.evaluate(CHARTS)) as { name: string; description: string; tables: number }[];
    assert.ok(charts.length >= 5);
    for (const { name, description, tables } of charts) {
      assert.ok(name.length > 3 && description.length > 40, `${name}: ${description}`);
      assert.equal(tables, 1, name);
    }
  });

  for (const width of [1200, 360]) {
    test(`is reached by the keyboard in the order of the page, ${width} px wide`, async () => {
      const { page } = await browsing.show(renderHtml(compared({ mode: 'service' })), { width });
      const count = (await page.evaluate(NUMBER_FOCUSABLE)) as number;
      const order: number[] = [];
      const seen: string[] = [];
      for (let at = 0; at < count; at++) {
        await page.keyboard.press('Tab');
        const { place, what, visible } = (await page.evaluate(FOCUSED)) as {
          place: number;
          what: string;
          visible: boolean;
        };
        assert.ok(visible, `${what} has the focus and cannot be seen`);
        order.push(place);
        seen.push(what);
      }
      assert.deepEqual(
        order,
        order.map((_, at) => at),
      );
      for (const what of [
        'A Skip to the content',
        'SUMMARY Data: latency by percentile',
        'INPUT range',
        'BUTTON Copy',
        'DIV region',
      ])
        assert.ok(seen.includes(what), `${what} is not among ${seen.join(', ')}`);
    });
  }

  test('skips to the content', async () => {
    const { page } = await browsing.show(renderHtml(compared()));
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate('document.activeElement.id'), 'content');
  });

  test("shows the values at the cursor, which are those of the chart's table", async () => {
    for (const subjects of [3, 12]) {
      const { page } = await browsing.show(renderHtml(compared({ subjects })));
      const cursor = page.getByRole('slider');
      await cursor.focus();
      for (let at = 0; at < 5; at++) await page.keyboard.press('ArrowRight');
      const cells = await page.locator('tr[data-at]').nth(5).locator('th, td').allTextContents();
      const values = await page.locator('.timed [data-v]').allTextContents();
      assert.equal(values.length, subjects);
      assert.deepEqual(
        values,
        cells.slice(1).map((value) => `${value} MiB`),
      );
      assert.equal(await page.locator('.cursor output').innerText(), `${cells[0]} s`);
      const said = (await cursor.getAttribute('aria-valuetext')) ?? '';
      assert.ok(said.startsWith(`${cells[0]} s`) && said.includes(cells[1]!) === subjects < 9, said);
      const cross = page.locator('svg.plot .cross[visibility=visible]');
      assert.equal(await cross.count(), subjects < 9 ? 1 : subjects);
    }
  });

  test('shows the values under the pointer', async () => {
    const { page } = await browsing.show(renderHtml(compared()));
    const plot = page.locator('.timed svg.plot');
    await plot.scrollIntoViewIfNeeded();
    const box = (await plot.boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.5, box.y + 40);
    const output = await page.locator('.cursor output').innerText();
    const times = (await page.evaluate(
      '[...document.querySelectorAll("tr[data-at]")].map((row) => [row.dataset.at, row.cells[0].textContent])',
    )) as [string, string][];
    const nearest = times.toSorted(([a], [b]) => Math.abs(Number(a) - 50) - Math.abs(Number(b) - 50))[0]!;
    assert.equal(output, `${nearest[1]} s`);
  });

  test('shows a subject in all charts where the pointer is on it', async () => {
    const { page } = await browsing.show(renderHtml(compared()));
    assert.equal(await page.locator('svg .dim').count(), 0);
    await page.locator('.legend li').first().hover();
    const subject = await page.locator('.legend li').first().getAttribute('data-s');
    assert.ok((await page.locator('svg .dim').count()) > 10);
    assert.equal(await page.locator(`svg .dim[data-s="${subject}"]`).count(), 0);
    await page.locator('h1').hover();
    assert.equal(await page.locator('svg .dim').count(), 0);
  });

  test('copies, or selects where it may not copy', async () => {
    const { page } = await browsing.show(renderHtml(compared()));
    const button = page.getByRole('button', { name: 'Copy' }).last();
    await button.click();
    const done = page.getByRole('button', { name: /Copied|Selected/ });
    await done.waitFor();
    if ((await done.innerText()) === 'Selected')
      assert.match((await page.evaluate('String(getSelection())')) as string, /^malloc-backend compare/);
  });

  test('can be read without its script', async () => {
    const { page } = await browsing.show(renderHtml(compared()), { script: false });
    for (const hidden of await page.locator('button, .cursor').all())
      assert.equal(await hidden.isVisible(), false);
    assert.equal(await page.locator('svg.plot').first().isVisible(), true);
    await page.locator('#memory summary').click();
    assert.equal(await page.locator('#memory table').isVisible(), true);
  });
});

/** The labels of a chart that cover one another, or that are cut off at the side of the page. */
const BAD_LABELS = `[...document.querySelectorAll('svg.plot, .strip-axis svg')].flatMap((svg) => {
  const labels = [...svg.querySelectorAll('text')]
    .map((text) => ({ text: text.textContent, box: text.getBoundingClientRect() }))
    .filter(({ box }) => box.width > 0);
  const inset = 1;
  const cover = (a, b) => a.left < b.right - inset && b.left < a.right - inset && a.top < b.bottom - 4 && b.top < a.bottom - 4;
  return labels.flatMap(({ text, box }, at) => [
    ...(box.left < 0 || box.right > innerWidth ? [text + ' leaves the page'] : []),
    ...labels.slice(at + 1).filter((other) => cover(box, other.box)).map((other) => text + ' and ' + other.text),
  ]);
})`;

/** What a screen reader says of each chart, and how many tables are behind it. */
const CHARTS = `[...document.querySelectorAll('main [role=img]')].map((chart) => {
  const text = (ids) => (ids ?? '').split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join(' ');
  return {
    name: chart.getAttribute('aria-label') ?? text(chart.getAttribute('aria-labelledby')),
    description: text(chart.getAttribute('aria-describedby')),
    tables: chart.closest('figure').querySelectorAll('details table').length,
  };
})`;

/** Numbers what the keyboard can reach, in the order of the document. */
const NUMBER_FOCUSABLE = `(() => {
  const reach = [...document.querySelectorAll('a[href], button, input, summary, [tabindex="0"]')].filter((each) => each.checkVisibility());
  reach.forEach((each, at) => (each.dataset.place = at));
  return reach.length;
})()`;

const FOCUSED = `(() => {
  const focused = document.activeElement;
  const box = focused.getBoundingClientRect();
  const kind = focused.getAttribute('role') ?? focused.getAttribute('type') ?? '';
  return {
    place: Number(focused.dataset.place),
    what: focused.tagName + ' ' + (['region', 'range'].includes(kind) ? kind : focused.textContent.trim()),
    visible: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0,
  };
})()`;
