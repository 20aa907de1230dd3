// clippy over every crate with the features that it is built with; the shim once per backend.

import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';

// As @napi-rs/cli builds it, so that what it has compiled serves here too.
const host = execFileSync('rustc', ['--print', 'host-tuple'], { encoding: 'utf8' }).trim();
const all = 'jemalloc,mimalloc,snmalloc';
const sets = [
  ['-p', 'malloc-backend', '--all-targets', '--features', `${all},serde`],
  ['-p', 'malloc-backend-pool', '--all-targets', '--features', all],
  ['-p', 'malloc-backend-process', '--all-targets'],
  ['-p', 'malloc-backend-profile', '--all-targets'],
  ['-p', 'malloc-backend-launch', '--all-targets'],
  ['-p', 'malloc-backend-diagnose', '--all-targets'],
  ['-p', 'malloc-backend-measure', '--all-targets'],
  ['-p', 'malloc-backend-cli'],
  ['-p', 'malloc-backend-python', '--features', 'interpreter,tagged'],
  ['-p', 'malloc-backend-python', '--examples'],
  ['-p', 'malloc-backend-node', '--target', host],
  ['-p', 'malloc-backend-python-hook'],
  ['-p', 'malloc-backend-profile-hooks'],
  ['-p', 'malloc-backend-python-profile'],
  ['-p', 'malloc-backend-preload', '--features', 'jemalloc,mimalloc,fork'],
  ['-p', 'malloc-backend-shim'],
  ...all.split(',').map((backend) => ['-p', 'malloc-backend-shim', '--features', backend]),
];
/** Without std there is no unwinding, as in npm/build.mjs.
 * @param {string[]} set */
const abort = (set) => (set.some((word) => /shim|preload|hook/.test(word)) ? ['-Cpanic=abort'] : []);

for (const set of sets) {
  const args = [
    'clippy',
    '--release',
    '--locked',
    '--quiet',
    ...set,
    '--',
    '--deny',
    'warnings',
    ...abort(set),
  ];
  const { status } = spawnSync('cargo', args, { cwd: join(import.meta.dirname, '..'), stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
