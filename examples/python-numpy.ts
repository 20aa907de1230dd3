/**
 * numpy in this process and in a child, from a virtual environment that this makes in a temporary folder.
 *
 * numpy's arrays are no matter of Python's domains: numpy asks `malloc` for their data. In a child `malloc` puts the whole
 * process on the backend, and them with it.
 *
 * `node dist/examples/python-numpy.js [python]`; numpy comes from PyPI, by pip.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { PythonInterpreter, spawnPython } from '../index.js';

const folder = mkdtempSync(join(tmpdir(), 'malloc-backend-numpy-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

console.log('making a virtual environment with numpy …');
const venv = join(folder, 'venv');
execFileSync(process.argv[2] ?? 'python3', ['-m', 'venv', venv], { stdio: 'inherit' });
execFileSync(join(venv, 'bin/python'), ['-m', 'pip', 'install', '--quiet', 'numpy'], { stdio: 'inherit' });

const functions = `
import numpy

def product(size):
    left = numpy.arange(size * size, dtype="float64").reshape(size, size) % 7
    return float((left @ left.T).sum())

def large(mebibytes):
    array = numpy.ones(mebibytes << 20, dtype="uint8")
    return int(array.sum())
`;

const python = await PythonInterpreter.start({
  venv,
  allocatorBackend: 'mimalloc',
  allocatorMem: true,
  allocatorObj: true,
  counters: true,
});
await python.exec(functions);
const megabytes = (): string => `${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB`;
console.log(`in this process: numpy ${String(await python.eval('numpy.__version__'))}`);
console.log('  product:', await python.call('product', [500]));
console.log('  RSS before a 256 MiB array:', megabytes());
console.log('  its sum:', await python.call('large', [256]));
console.log('  RSS after it was dropped:', megabytes());
console.log('  live bytes of the obj domain:', python.stats()?.obj.liveBytes);

const child = spawnPython(['-c', `${functions}\nprint(product(500), large(256))`], {
  python: join(venv, 'bin/python'),
  allocatorBackend: 'mimalloc',
  malloc: 'mimalloc',
  stdio: ['ignore', 'pipe', 'inherit'],
});
const { owner, domains } = await child.applied;
console.log(`in a child: raw is ${domains.raw?.backend}, malloc is that of ${owner.split('/').at(-1)}`);
console.log('  product and sum:', (await text(child.stdout!)).trim());
