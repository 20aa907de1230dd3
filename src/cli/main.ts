#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isSupported } from '../process/supported.js';
import { fail } from './fail.js';
import { main as becomeNative } from './native.js';

/** Those that are a program of their own, without Node: crates/cli. */
const natives: readonly string[] = ['run', 'env', 'path', 'doctor'];

/** Those in JavaScript, each in a file of its own (npm/bundle.mjs): none must wait for the others. */
const scripts: readonly string[] = ['python'];

/** By the package's name: this file may be a copy in node_modules/.bin, where something follows links as it copies. */
function ownFolder(): string {
  return dirname(require.resolve('malloc-backend/package.json'));
}

function script(name: string): { help: string; main: (args: string[]) => void | Promise<void> } {
  return require(join(ownFolder(), 'dist', 'cli', `${name}.cjs`));
}

const help = `Choose the memory allocator of a program, with proof that it took effect.

Usage: malloc-backend <command> …

Commands:
  run <backend> [--] <command …>   become the command, on the backend
  python <backend> [--] <args …>   become Python, its allocator domains on the backend
  env <backend>                    print what to set where no wrapper is wanted
  path                             print where the program behind this command lies, which needs no Node
  doctor                           show whose malloc a process runs on, and what stands in the way

Backends: default (the C library's), jemalloc, mimalloc, snmalloc. "rust" cannot serve a whole process.

Examples:
  malloc-backend run mimalloc -- node server.js
  malloc-backend run jemalloc --preset low-rss -- python3 app.py
  malloc-backend python jemalloc --mem --obj -- script.py
  malloc-backend env jemalloc --format docker
  malloc-backend doctor --pid 4711

malloc-backend <command> --help tells more. --version prints the version.`;

/** Exit status 2 and the usage on standard error, as for every wrong usage. */
function usage(problem: string): void {
  console.error(`malloc-backend: ${problem}\n\n${help}`);
  process.exitCode = 2;
}

function version(): string {
  const manifest = readFileSync(join(ownFolder(), 'package.json'), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

// No top-level await: the command is shipped as CommonJS, which Node starts faster.
async function main([name, ...args]: string[]): Promise<void> {
  if (name === undefined) return usage('no command was given');
  if (name === '--help' || name === '-h' || name === 'help') return console.log(help);
  if (name === '--version' || name === '-V') return console.log(version());
  if (!isSupported() && natives.includes(name)) return script('elsewhere').main([name, ...args]);
  if (natives.includes(name)) return becomeNative([name, ...args]);
  if (!scripts.includes(name)) return usage(`there is no command ${JSON.stringify(name)}`);
  const command = script(name);
  const end = args.indexOf('--');
  const own = args.slice(0, end < 0 ? undefined : end);
  // What `python` becomes has a --help of its own.
  const asked = name === 'python' ? own[0] : own.find((word) => word === '--help' || word === '-h');
  if (asked === '--help' || asked === '-h') return console.log(command.help);
  await command.main(args);
}

const words = process.argv.slice(2);
main(words).catch((error: unknown) => {
  // `eval "$(…)" && …` does not see this command's status; it sees that of what is printed.
  if (words[0] === 'env' && !/--format[ =](?!shell)[a-z]/.test(words.join(' '))) console.log('false');
  process.exitCode = fail(error);
});
