// The programs that read pprof, with a profile of ours: `go tool pprof`, and speedscope in a real Chromium.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { diff } from '../src/profile/diff.js';
import { readProfile, writeProfile } from '../src/profile/pprof.js';
import * as tools from './fixtures-ts/tools.js';
import { browserProgram, noBrowser } from './support/browser.js';
import { profileOf, shop, shopBefore } from './support/profiles.js';
import { root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const go = tools.which('go');
const noGo =
  (go === undefined && 'Go is not installed') ||
  (spawnSync('go', ['tool', 'pprof', '-h'], { env: goEnvironment() }).error !== undefined &&
    'Go has no pprof');

/** It makes folders in the home folder otherwise. */
function goEnvironment(): NodeJS.ProcessEnv {
  return {
    ...process.env,
    HOME: tools.scratch('home'),
    PPROF_TMPDIR: tools.scratch('pprof'),
    GOTOOLCHAIN: 'local',
    GOTELEMETRY: 'off',
  };
}

const top = (file: string, ...options: string[]) =>
  execFileSync('go', ['tool', 'pprof', '-top', '-nodefraction=0', '-symbolize=none', ...options, file], {
    encoding: 'utf8',
    env: goEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });

describe('go tool pprof', { skip: noGo }, () => {
  test('reads what we write', () => {
    const file = tools.file('go.pb.gz', writeProfile(readProfile(profileOf(shop()))), 0o644);
    const text = top(file, '-sample_index=inuse_space');
    assert.match(text, /^Type: inuse_space$/m);
    assert.match(text, /Showing nodes accounting for .* of 71\.75MB total/);
    assert.match(text, /41MB\s+57\.14%.*node::AllocateUninitialized/);
    assert.match(text, /38MB\s+52\.96%\s+keep/);
    assert.match(text, /createUnsafeBuffer \(inline\)/);
  });

  test('reads a difference', () => {
    const file = tools.file('go-diff.pb.gz', diff(profileOf(shopBefore()), profileOf(shop())), 0o644);
    const text = top(file, '-sample_index=inuse_space', '-cum');
    assert.match(text, /-9MB.*job/);
    assert.match(text, /34\.20MB.*keep/);
  });
});

const speedscope = join(root, 'node_modules/speedscope/dist/release');

describe(
  'speedscope',
  { skip: noBrowser || (!existsSync(speedscope) && 'speedscope is not installed') },
  () => {
    test('reads what we write', async () => {
      // As its own command does: a script that gives it the file.
      const bytes = Buffer.from(writeProfile(readProfile(profileOf(shop()))));
      const script = tools.scratch('speedscope.js');
      writeFileSync(
        script,
        `speedscope.loadFileFromBase64("heap.pb.gz", ${JSON.stringify(bytes.toString('base64'))})`,
      );
      const viewer = pathToFileURL(join(speedscope, 'index.html')).href;
      const browser = await chromium.launch({
        executablePath: browserProgram,
        args: ['--no-sandbox', '--disable-gpu', '--allow-file-access-from-files', '--use-gl=swiftshader'],
        timeout: 0,
      });
      try {
        const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
        await page.goto(`${viewer}#localProfilePath=${script}`);
        await page.getByText('Left Heavy').waitFor();
        await page.getByText('Sandwich').click();
        await page.getByText('keep').first().waitFor();
        const folder = process.env['SCREENSHOTS'];
        if (folder !== undefined) await page.screenshot({ path: join(root, folder, 'speedscope.png') });
        const text = await page.locator('body').innerText();
        assert.match(text, /node::AllocateUninitialized/);
        assert.match(text, /41\.00 MB/);
      } finally {
        await browser.close();
      }
    });
  },
);
