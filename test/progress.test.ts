// The tests' own watchdog: what is stuck is ended and shown, and what is slow goes on.

import assert from 'node:assert/strict';
import { until } from './support/progress.js';
import { run, start } from './support/run.js';
import { describe, test } from './support/suite.js';

const noProc = process.platform === 'linux' ? false : 'there is no /proc';
const node = (code: string): [string, string[]] => [process.execPath, ['-e', code]];

describe('a program under the watchdog', { skip: noProc }, () => {
  test('that waits for ever is stuck', async () => {
    const waiting = run('sh', ['-c', 'echo begun; sleep 1000; echo ended'], { patience: { looks: 2 } });
    await assert.rejects(waiting, /hung: sh .*: begun\n.*nothing has happened at 2 looks/);
  });

  test('that is busy for ever is stuck, also where a child of it is', async () => {
    const spins = 'for (;;);';
    const nested = `require('child_process').spawnSync(process.execPath, ['-e', ${JSON.stringify(spins)}])`;
    for (const code of [spins, nested]) {
      const spinning = run(...node(code), { patience: { processor: 3 } });
      await assert.rejects(spinning, /hung: .*used 3 s of processor time without a sign of life/);
    }
  });

  test('that works longer than it may wait is not, nor one that speaks', async () => {
    const patience = { looks: 3 };
    const work = `const end = process.cpuUsage().user + 7e6; while (process.cpuUsage().user < end);`;
    assert.equal((await run(...node(work), { patience })).code, 0);
    const talk = `let n = 0; setInterval(() => { console.log(n); if (++n === 8) process.exit(0); }, 1000);`;
    assert.equal((await run(...node(talk), { patience })).code, 0);
  });

  test('until() goes on while what was started works', async () => {
    const child = start(...node(`for (let n = 0; n < 3e9; n++); console.log('done')`));
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => (said += chunk));
    assert.equal(await until('its word', () => said !== '' && said), 'done\n');
  });
});
