// The rules and the dashboard of examples/fleet: by Prometheus's own tool, by Grafana's types, and on a real Prometheus.

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type {
  Dashboard,
  Panel,
  RowPanel,
} from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';
import * as tools from './fixtures-ts/tools.js';
import { type Result, type Server, noPrometheus, promtool, serve } from './support/prometheus.js';
import { kill, run, start } from './support/run.js';
import { cannotPreload, root } from './support/shims.js';
import { afterAll, describe, test } from './support/suite.js';

const rules = join(root, 'examples', 'fleet', 'prometheus-rules.yml');
const text = readFileSync(join(root, 'examples', 'fleet', 'grafana-dashboard.json'), 'utf8');
const dashboard = JSON.parse(text) as Dashboard;

const isPanel = (panel: Panel | RowPanel): panel is Panel => panel.type !== 'row';
const panels = (dashboard.panels ?? []).filter(isPanel);

interface Target {
  refId: string;
  expr: string;
  datasource: unknown;
}
const targetsOf = ({ targets = [] }: Panel): Target[] => targets as unknown as Target[];

describe('the rules', { skip: noPrometheus }, () => {
  test('are right, and find what they must and nothing else', async () => {
    const check = await run(promtool ?? '', ['check', 'rules', rules]);
    assert.equal(check.code, 0, check.stderr);
    const tested = await run(promtool ?? '', ['test', 'rules', join(root, 'test/fixtures/fleet-rules.yml')]);
    assert.equal(tested.code, 0, `${tested.stdout}${tested.stderr}`);
  });

  test('are all tested', () => {
    const names = [...readFileSync(rules, 'utf8').matchAll(/- (?:record|alert): (\S+)/g)].map(
      ([, name]) => name,
    );
    assert.equal(names.length, 9);
    const tests = readFileSync(join(root, 'test/fixtures/fleet-rules.yml'), 'utf8');
    for (const name of names) assert.ok(tests.includes(`: ${name}`), name);
  });
});

describe('the dashboard', () => {
  test('has the structure of Grafana’s types', async () => {
    symlinkSync(join(root, 'node_modules'), tools.scratch('node_modules'));
    const compiled = async (name: string, json: string) => {
      const program = `import type { Dashboard } from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';\nexport const dashboard: Dashboard = ${json};\n`;
      const file = tools.file(name, program, 0o644);
      const options = [
        '--noEmit',
        '--strict',
        '--skipLibCheck',
        '--module',
        'esnext',
        '--moduleResolution',
        'bundler',
      ];
      const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
      return run(process.execPath, [tsc, ...options, '--types', 'node', file], { cwd: tools.scratch('.') });
    };
    const right = await compiled('dashboard.ts', text);
    assert.equal(right.code, 0, right.stdout);
    const wrong = await compiled('wrong.ts', text.replace('"h": 8', '"h": "8"'));
    assert.notEqual(wrong.code, 0, 'what is wrong is found');
    assert.match(wrong.stdout, /'string' is not assignable to type 'number'/);
  });

  test('has places for all panels, and each id once', () => {
    assert.ok(panels.length >= 15, `${panels.length} panels`);
    const all = dashboard.panels ?? [];
    assert.equal(new Set(all.map(({ id }) => id)).size, all.length);
    const taken = new Set<string>();
    for (const { title, gridPos } of all) {
      const { x, y, w, h } = gridPos ?? assert.fail(`${title} has no place`);
      assert.ok(x >= 0 && x + w <= 24, title);
      for (let column = x; column < x + w; column++)
        for (let line = y; line < y + h; line++) {
          assert.ok(!taken.has(`${column} ${line}`), `${title} lies over another panel`);
          taken.add(`${column} ${line}`);
        }
    }
    for (const panel of panels) assert.ok(panel.description && targetsOf(panel).length > 0, panel.title);
  });

  test('uses each variable, and none that is not there', () => {
    const names = (dashboard.templating?.list ?? []).map(({ name }) => name);
    const used = new Set([...text.matchAll(/\$\{?([a-z]\w*)/g)].map(([, name]) => name));
    assert.deepEqual([...used].sort(), [...names].sort());
    const builtIn = new Set([...text.matchAll(/\$(__\w+)/g)].map(([, name]) => name));
    assert.deepEqual([...builtIn].sort(), ['__range', '__rate_interval']);
  });
});

const ENOUGH = 90;

describe('each query of the dashboard', { skip: cannotPreload || noPrometheus }, () => {
  const services: ChildProcess[] = [];
  afterAll(() => services.forEach(kill));

  async function service(...words: string[]): Promise<string> {
    const fixture = join(root, 'dist', 'test', 'fixtures-ts', 'metrics.js');
    const child = start(process.execPath, [tools.cli, 'run', ...words, '--', process.execPath, fixture]);
    child.stdin?.on('error', () => {});
    services.push(child);
    const [line] = (await once(child.stdout ?? assert.fail(), 'data')) as [Buffer];
    return `127.0.0.1:${Number(line.toString())}`;
  }

  /** What an expression gives, as soon as it has so many series. It fails after scrapes that every query can do with. */
  function data(server: Server, expression: string, least: number): Promise<Result[]> {
    return tools.until(expression, async () => {
      const [scrapes] = await server.query('min(count_over_time(malloc_backend_rss_bytes[1h]))');
      const results = await server.query(expression);
      const isEnough = results.length >= least;
      assert.ok(
        isEnough || !(Number(scrapes?.value[1]) >= ENOUGH),
        `no data after ${ENOUGH} scrapes: ${expression}`,
      );
      return isEnough ? results : undefined;
    });
  }

  test('gives data on a Prometheus that has scraped two services on two backends', async () => {
    const targets = [
      await service('default', '--preset', 'none'),
      await service('jemalloc', '--preset', 'low-rss'),
    ];
    const server = await serve([{ job: 'api', targets }], { rules: [rules] });
    try {
      const variables: Record<string, string> = {
        job: '.*',
        a: 'jemalloc',
        b: 'default',
        __range: '1h',
        __rate_interval: '10s',
      };
      for (const name of ['job', 'a', 'b']) {
        const variable = dashboard.templating?.list?.find((each) => each.name === name);
        const { query } = (variable ?? assert.fail(name)).query as { query: string };
        const [, series = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(query) ?? assert.fail(query);
        const matcher = series.replaceAll('$job', '.*');
        const found = await tools.until(query, async () => {
          const url = `${server.url}/api/v1/label/${label}/values?match[]=${encodeURIComponent(matcher)}`;
          const { data } = (await (await fetch(url)).json()) as { data: string[] };
          return data.length === (label === 'job' ? 1 : 2) ? data : undefined;
        });
        assert.deepEqual(found, label === 'job' ? ['api'] : ['default', 'jemalloc']);
      }
      const expressions = panels.flatMap((panel) =>
        targetsOf(panel).map(({ expr }) =>
          expr.replaceAll(/\$(\w+)/g, (_, name: string) => variables[name] ?? name),
        ),
      );
      for (const expression of expressions) {
        assert.ok(!expression.includes('$'), expression);
        // What is told by variant has both, as soon as both are scraped often enough.
        const least = /by \((job, )?backend, preset/.test(expression) ? 2 : 1;
        const found = await data(server, expression, least);
        for (const { value } of found)
          assert.ok(Number.isFinite(Number(value[1])), `${expression}: ${value[1]}`);
      }
      // The rules are evaluated on the same data.
      const count = await data(server, 'variant:malloc_backend_pods:count', 2);
      assert.deepEqual(count.map(({ metric }) => `${metric['backend']}/${metric['preset']}`).sort(), [
        'default/none',
        'jemalloc/low-rss',
      ]);
    } finally {
      server.stop();
    }
  });
});
