// What a newcomer does with a service, in a root that has nothing but a Node: installs the tarballs, starts the service on a
// backend, looks at it, has it give back memory, and compares two backends.
//
//   node platforms/service.mjs <folder of the tarballs>

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const emulator = process.env['TEST_EMULATOR'];
const tarballs = process.argv[2] ?? assert.fail('name the folder of the tarballs');
const project = mkdtempSync(join(tmpdir(), 'service-'));
const bin = join(project, 'node_modules/.bin/malloc-backend');

/** @param {string} program @param {string[]} args */
function run(program, ...args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: project, encoding: 'utf8' });
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${error?.message ?? `${stdout}${stderr}`}`);
  return stdout;
}
/** @param {string} step @param {string} found */
const says = (step, found) => console.log(`${step}: ${found}`);

writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }');
writeFileSync(
  join(project, 'server.js'),
  `import { createServer } from 'node:http';
  import { activeBackend, memory, releaseMemory } from 'malloc-backend';
  const answers = {
    '/': () => { const buffers = Array.from({ length: 20_000 }, () => Buffer.alloc(5000, 1)); return buffers.length; },
    '/memory': () => memory(),
    // The buffers are garbage; only what V8 has freed can go back to the system.
    '/release': async () => { for (let n = 0; n < 3; n++) { gc(); await new Promise(setImmediate); } return releaseMemory(); },
    '/backend': () => activeBackend(),
  };
  const server = createServer(async ({ url }, response) => response.end(JSON.stringify(await answers[url]())));
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));`,
);
const files = readdirSync(tarballs).filter((name) => name.endsWith('.tgz'));
run(
  'npm',
  'install',
  '--offline',
  '--no-audit',
  '--no-fund',
  ...files.map((name) => resolve(tarballs, name)),
);
says('install', files.join(', '));

// Free pages stay: in an emulator, a second passes before anything is asked.
const options = ['--set', 'dirty_decay_ms=-1'];
const service = spawn(bin, ['run', 'jemalloc', ...options, '--', 'node', '--expose-gc', 'server.js'], {
  cwd: project,
  stdio: ['ignore', 'pipe', 'inherit'],
});
const [port] = await once(service.stdout, 'data');
const ask = async (/** @type {string} */ path) => {
  const response = await fetch(`http://127.0.0.1:${String(port).trim()}${path}`);
  return JSON.parse(await response.text());
};
try {
  const { backend, version } = await ask('/backend');
  assert.equal(backend, 'jemalloc');
  says('run', `${backend} ${version}`);

  assert.equal(await ask('/'), 20_000);
  const { rss, parts } = await ask('/memory');
  const sum = Object.values(parts).reduce((one, other) => one + other, 0);
  if (emulator !== undefined && sum === 0)
    says(
      'memory',
      `${Math.round(rss / 2 ** 20)} MiB; the parts skipped: ${emulator} says 0 bytes of each mapping`,
    );
  else {
    assert.ok(Math.abs(sum - rss) < 0.05 * rss, `the parts are ${sum} of ${rss} bytes`);
    says('memory', `${Math.round(rss / 2 ** 20)} MiB in ${Object.keys(parts).length} parts`);
  }

  const { released, before, after } = await ask('/release');
  assert.ok(released > 20 * 2 ** 20, `${released} bytes of ${before}`);
  says('release', `${Math.round(before / 2 ** 20)} to ${Math.round(after / 2 ** 20)} MiB`);

  // An emulator has its own program, and its own memory, in /proc.
  if (emulator !== undefined) says('doctor', `skipped: ${emulator} is the program that /proc shows`);
  else {
    run(bin, 'doctor', '--pid', `${service.pid}`, '--expect', 'jemalloc');
    says('doctor', run(bin, 'doctor', '--pid', `${service.pid}`, '--memory').split('\n')[0] ?? '');
  }
} finally {
  service.kill();
}
const work = 'for (let n = 0; n < 1000; n++) Buffer.alloc(50_000, n)';
const subjects = ['--backends', 'default,jemalloc', '--presets', 'none'];
const report = run(bin, 'compare', '--runs', '1', '--warmup', '0', ...subjects, '--', 'node', '-e', work);
for (const backend of ['default', 'jemalloc']) assert.match(report, new RegExp(`^${backend}\\b`, 'm'));
says('compare', `${report.trim().split('\n').length} lines`);
