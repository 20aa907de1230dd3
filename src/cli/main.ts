#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { Command, Option } from 'commander';
import { report } from './report.js';

const PRESETS = ['low-rss', 'balanced', 'throughput', 'none'];

/** `--set key=value`, any number of times. */
function collect(text: string, sofar: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=');
  return { ...sofar, [at < 0 ? text : text.slice(0, at)]: at < 0 ? '' : text.slice(at + 1) };
}

function switching(command: Command): Command {
  return command
    .addOption(
      new Option('--preset <name>', 'what the allocator is tuned for').choices(PRESETS).default('balanced'),
    )
    .option('--set <key=value>', 'one option of the allocator; may be given again', collect, {})
    .addOption(
      new Option('--children <which>', 'whether the programs that it starts are switched too')
        .choices(['inherit', 'none'])
        .default('inherit'),
    );
}

const program = new Command('malloc-backend')
  .description('Choose the memory allocator of a program, with proof that it took effect.')
  .enablePositionalOptions()
  .exitOverride()
  .showHelpAfterError('(malloc-backend --help shows how)')
  .addHelpText(
    'after',
    `
Backends: default (the C library's), jemalloc, mimalloc, snmalloc. "rust" cannot serve a whole process.

Examples:
  malloc-backend run mimalloc -- node server.js
  malloc-backend run jemalloc --preset low-rss -- python3 app.py
  malloc-backend env jemalloc --format docker
  malloc-backend doctor --pid 4711`,
  );

switching(program.command('run'))
  .description('become the command, on the backend')
  .argument('<backend>', 'default, jemalloc, mimalloc or snmalloc')
  .argument('<command...>', 'the program and its arguments')
  .addHelpText(
    'after',
    `
The command takes this process's place: same process id, signals and standard streams.

Exit status: the command's own; 2 wrong usage, 126 it cannot be switched, 127 it was not found.

Examples:
  malloc-backend run mimalloc -- node server.js
  malloc-backend run jemalloc --set narenas=2 -- python3 app.py
  malloc-backend run snmalloc --children none -- ./server --port 80`,
  )
  .action(async (...args: unknown[]) => (await import('./run.js')).run(args[0], args[1], args[2]));

switching(program.command('env'))
  .description('print what to set where no wrapper is wanted')
  .argument('<backend>', 'default, jemalloc, mimalloc or snmalloc')
  .addOption(
    new Option('--format <format>', 'for whom')
      .choices(['shell', 'docker', 'systemd', 'json'])
      .default('shell'),
  )
  .addHelpText(
    'after',
    `
Examples:
  eval "$(malloc-backend env jemalloc)" && exec node server.js
  malloc-backend env mimalloc --format docker   # lines for a Dockerfile
  malloc-backend env jemalloc --format systemd  # lines for a [Service] section`,
  )
  .action(async (...args: unknown[]) => (await import('./env.js')).env(args[0], args[1]));

program
  .command('doctor')
  .description('show whose malloc a process runs on, what this machine has, and what stands in the way')
  .option('--pid <pid>', 'look at that process', Number)
  .option('--json', 'for programs')
  .addHelpText('after', '\nExamples:\n  malloc-backend doctor\n  malloc-backend doctor --pid 4711 --json')
  .action(async (...args: unknown[]) => (await import('./doctor.js')).doctor(args[0]));

for (const command of program.commands) command.exitOverride();

/**
 * In `run mimalloc --children none node --version` the command starts at the second word that is no option. There
 * goes the `--` behind which nothing is taken for an option of ours.
 */
function separateCommand(argv: string[]): string[] {
  const [name, ...rest] = argv;
  if (name !== 'run') return argv;
  const string = { type: 'string' } as const;
  const options = { preset: string, set: { ...string, multiple: true }, children: string } as const;
  const { tokens } = parseArgs({ args: rest, options, strict: false, allowPositionals: true, tokens: true });
  const end = tokens.find(({ kind }) => kind === 'option-terminator')?.index ?? Infinity;
  const at = tokens.filter(({ kind }) => kind === 'positional')[1]?.index ?? Infinity;
  return at < end ? [name, ...rest.slice(0, at), '--', ...rest.slice(at)] : argv;
}

try {
  await program.parseAsync(separateCommand(process.argv.slice(2)), { from: 'user' });
} catch (error) {
  process.exitCode = report(error);
}
