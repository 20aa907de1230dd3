// `malloc-backend run` on real programs: they do what they do without it, the switch is proven from outside while
// they run, and no process stays between.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compiled } from './support/native.js';
import { onPath, programs, session } from './support/programs.js';
import { until } from './support/progress.js';
import { ended, kill, type Outcome, run, start, succeed } from './support/run.js';
import { cannotPreload, root, type Shim, shim, SWITCHING } from './support/shims.js';
import { beforeAll, describe, test } from './support/suite.js';

const ALL: readonly Shim[] = ['default', ...SWITCHING];

/** The command as it is shipped. */
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const cli = [process.execPath, join(root, manifest.bin['malloc-backend'])] as const;
const under = (backend: Shim) => [...cli, 'run', backend, '--'];

async function doctor(pid: number): Promise<Record<string, unknown>> {
  const { stdout } = await succeed(cli[0], [cli[1], 'doctor', '--pid', `${pid}`, '--json']);
  return JSON.parse(stdout).malloc;
}

const spoken = ({ code, signal, stdout, stderr }: Outcome) => ({ code, signal, stdout, stderr });

describe('real programs', { skip: cannotPreload }, () => {
  for (const program of programs) {
    const missing = ['node', 'C++'].includes(program.name) || onPath(program.name) ? false : 'not on PATH';
    describe(program.name, { skip: missing }, () => {
      let plain: Outcome;
      let before: Record<string, unknown>;
      beforeAll(async () => {
        plain = await session(program, [], async (pid) => void (before = await doctor(pid)));
      });

      test('where nothing is switched', () => {
        assert.equal(plain.code, program.code, plain.stdout + plain.stderr);
        assert.deepEqual([before['backend'], before['kind']], ['default', 'libc']);
      });

      for (const backend of ALL) {
        test(`on ${backend}`, async () => {
          let looked = false;
          const outcome = await session(program, under(backend), async (pid) => {
            const found = await doctor(pid);
            assert.equal(found['backend'], backend);
            assert.equal(found['kind'], backend === 'default' ? 'libc' : 'shim');
            if (backend !== 'default') assert.equal(found['owner'], shim(backend));
            assert.match(String(found['version']), /^\d+\.\d+/);
            looked = true;
          });
          assert.deepEqual(spoken(outcome), spoken(plain));
          assert.ok(looked, 'it was not looked at');
        });
      }
    });
  }
});

/** The processes of a process group. */
function group(leader: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        // Behind the name, which may contain anything: state, parent, group.
        return readFileSync(`/proc/${name}/stat`, 'utf8').split(') ').pop()?.split(' ')[2] === `${leader}`;
      } catch {
        return false; // it has ended
      }
    })
    .map(Number);
}

describe('the process', { skip: cannotPreload }, () => {
  describe('stays the same one, takes signals itself, and is alone', () => {
    for (const backend of ALL) {
      test(backend, async () => {
        const words = [...under(backend), 'sleep', '300'].map((word) => `'${word}'`).join(' ');
        const child = start('sh', ['-c', `exec ${words}`]);
        const outcome = ended(child);
        try {
          const pid = child.pid ?? assert.fail('it did not start');
          const name = () => readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
          await until('it becomes sleep', () => name() === 'sleep');
          assert.equal((await doctor(pid))['backend'], backend);
          assert.deepEqual(group(pid), [pid]);
          process.kill(pid, 'SIGTERM');
          const { code, signal } = await outcome;
          assert.deepEqual([code, signal], [null, 'SIGTERM']);
          assert.deepEqual(group(pid), []);
        } finally {
          kill(child);
        }
      });
    }
  });

  test('ends as the program ends', async () => {
    for (const backend of ALL) {
      const ends = async (script: string) => {
        const { code, signal } = await run(cli[0], [...under(backend).slice(1), 'sh', '-c', script]);
        return code ?? signal;
      };
      assert.equal(await ends('exit 7'), 7, backend);
      assert.equal(await ends('exit 255'), 255, backend);
      for (const signal of ['SIGSEGV', 'SIGKILL', 'SIGPIPE', 'SIGINT', 'SIGUSR1'])
        assert.equal(await ends(`kill -${signal.slice(3)} $$`), signal, backend);
    }
  });

  test('has the arguments, signals and descriptors that it would have without', async () => {
    const inside = await compiled('inside');
    const words = ['', 'a b', '--help', '-x', '--', 'ü\n"$HOME"', "it's"];
    const commands = [
      ['printf', '<%s>\n', ...words],
      ['grep', '-E', '^(Sig(Blk|Ign)|NoNewPrivs|Seccomp):', '/proc/self/status'],
      [inside, 'descriptors'],
      ['sh', '-c', 'ulimit -a; umask; pwd; nice'],
      ['sh', '-c', 'cat; echo to stderr >&2'],
    ];
    for (const [program = '', ...args] of commands) {
      const plain = await succeed(program, args, { input: 'to stdin\n' });
      for (const backend of ALL) {
        const [node = '', ...before] = under(backend);
        const switched = await succeed(node, [...before, program, ...args], { input: 'to stdin\n' });
        assert.deepEqual(spoken(switched), spoken(plain), `${program} on ${backend}`);
      }
    }
  });
});
