// Runs a Python program in this process: interpreter.js <options as JSON> <program>, and says on descriptor 3 what the
// interpreter says of itself.

import { readFileSync, writeSync } from 'node:fs';
import { PythonInterpreter } from '../../index.js';

const [options = '{}', program = ''] = process.argv.slice(2);
const python = await PythonInterpreter.start(JSON.parse(options) as object);
const before = python.info();
await python.exec(readFileSync(program, 'utf8'));
writeSync(3, JSON.stringify({ before, after: python.info(), stats: python.stats() }));
