/**
 * Python in this process, on a thread of its own: functions are called from TypeScript while the event loop goes on.
 *
 * `node dist/examples/python-in-process.js [python]`; that Python needs a shared library.
 */

import { PythonError, PythonInterpreter } from '../index.js';

const python = await PythonInterpreter.start({
  ...(process.argv[2] === undefined ? {} : { python: process.argv[2] }),
  allocatorBackend: 'jemalloc',
  allocatorPymallocArena: true,
});
const { version, libpython, domains } = python.info();
console.log(`Python ${version}, ${libpython}`);
console.log('domains:', domains);

await python.exec(`
import statistics

def summary(values, *, digits=2):
    return {"mean": round(statistics.mean(values), digits), "stdev": round(statistics.stdev(values), digits)}

def busy(seconds):
    import time
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "done"
`);

console.log('summary:', await python.call('summary', [[3, 1, 4, 1, 5, 9, 2, 6]], { digits: 3 }));
console.log('a bigint:', await python.call('math.factorial', [25]));
console.log('bytes:', await python.call('zlib.compress', [Buffer.from('a'.repeat(1000))]));

// What Python raises is a rejection, with its traceback.
try {
  await python.eval('1 / 0');
} catch (error) {
  if (!(error instanceof PythonError)) throw error;
  console.log(`${error.code}: ${error.message}`);
}

// The event loop goes on while Python computes.
let ticks = 0;
const timer = setInterval(() => (ticks += 1), 10);
console.log(await python.call('busy', [0.5]), `and ${ticks} ticks of a 10 ms timer meanwhile`);
clearInterval(timer);

// A signal stops the wait, and Python.
const started = performance.now();
await python.call('busy', [60], {}, { signal: AbortSignal.timeout(200) }).catch((error: unknown) => {
  const { code } = error as { code: string };
  console.log(`${code} after ${Math.round(performance.now() - started)} ms`);
});
console.log('and it goes on:', await python.eval('6 * 7'));
