// A headless Chromium, which has a malloc of its own and forks a zygote: by itself under `run`, and as a child of a Node
// whose children inherit the switch.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tools from './fixtures-ts/tools.js';
import { run } from './support/run.js';
import { cannotPreload, SWITCHING } from './support/shims.js';
import { describe, test } from './support/suite.js';

const chromium = ['chromium', 'chromium-browser', 'google-chrome'].map(tools.which).find(Boolean);
const skip = cannotPreload || (chromium === undefined && 'Chromium is not installed');
/** Whatever it does for itself, and what needs a display or a network. */
const QUIET = (
  '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking ' +
  '--disable-component-update --disable-sync --dump-dom'
).split(' ');

describe('Chromium', { skip }, () => {
  async function shows(before: readonly string[]) {
    const folder = mkdtempSync(join(tmpdir(), 'malloc-backend-chromium-'));
    try {
      const page = 'data:text/html,<p id=a></p><script>a.textContent=6*7</script>';
      const command = [...before, chromium ?? '', ...QUIET, `--user-data-dir=${folder}`, page];
      const { code, stdout, stderr } = await run(tools.native, command);
      assert.match(stdout, /<p id="a">42<\/p>/, stderr);
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stderr, /zygote|ld\.so|malloc/);
    } finally {
      rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    }
  }

  const child = `const { spawnSync } = require('node:child_process');
    const [program, ...args] = process.argv.slice(1);
    process.exitCode = spawnSync(program, args, { stdio: 'inherit' }).status;`;
  for (const backend of SWITCHING) {
    test(`under run, on ${backend}`, () => shows(['run', backend, '--']));
    test(`as a child of Node, on ${backend}`, () =>
      shows(['run', backend, '--', process.execPath, '-e', child, '--']));
  }
});
