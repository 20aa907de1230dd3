// `malloc-backend profile`. The native program (crates/cli/src/command/profile.rs) has parsed the words, and started Node with
// this file and the options as JSON.

import { readFileSync } from 'node:fs';
import { checkWritable, replaceFile } from '../compare/store.js';
import { MallocBackendError, invalidArgument } from '../errors.js';
import { diff } from '../profile/diff.js';
import { LEAST_INTERVAL, MOST_INTERVAL } from '../profile/limits.js';
import { MOST_SECONDS } from '../profile/live/captures.js';
import { requestProfile } from '../profile/live/client.js';
import { page } from '../profile/picture/html.js';
import { readProfile } from '../profile/pprof.js';
import { fail } from './fail.js';
import { defined, onSignals, say } from './words.js';

/** The words of the command line, as the native program names them. */
interface Words {
  profile: string | null;
  pid: string | null;
  seconds: string | null;
  interval: string | null;
  against: string | null;
  output: string | null;
  html: string | null;
}

/** Above 0, so that a mistake is said before a process is asked. */
function secondsOf(text: string | null): number | undefined {
  if (text === null) return undefined;
  const seconds = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : 0;
  if (seconds > 0 && seconds <= MOST_SECONDS) return seconds;
  throw invalidArgument(
    `--seconds must be a number above 0 and at most ${MOST_SECONDS}, not ${JSON.stringify(text)}`,
  );
}

function intervalOf(text: string | null): number | undefined {
  if (text === null) return undefined;
  const interval = /^\d+$/.test(text) ? Number(text) : 0;
  if (interval >= LEAST_INTERVAL && interval <= MOST_INTERVAL) return interval;
  throw invalidArgument(
    `--interval must be an integer from ${LEAST_INTERVAL} to ${MOST_INTERVAL}, not ${JSON.stringify(text)}`,
  );
}

function pidOf(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw invalidArgument(`--pid needs a process id, a positive integer, not ${JSON.stringify(text)}`);
}

function fileOf(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new MallocBackendError(
      'ERR_PROFILE_INVALID',
      `cannot read the profile ${path}: ${(cause as Error).message}`,
      { cause },
    );
  }
}

async function profileOf(words: Words, signal: AbortSignal): Promise<Uint8Array> {
  if (words.pid === null) return fileOf(words.profile!);
  const [pid, seconds, interval] = [pidOf(words.pid), secondsOf(words.seconds), intervalOf(words.interval)];
  return requestProfile(pid, defined({ profile: 'heap' as const, seconds, interval }), {
    signal,
    tell: (state) =>
      say(
        state === 'waiting'
          ? `another client profiles process ${pid}; waiting`
          : `profiling process ${pid}${seconds === undefined ? '' : ` for ${seconds} s`}`,
      ),
  });
}

async function main([text = '{}']: string[]): Promise<void> {
  const words = JSON.parse(text) as Words;
  const abort = new AbortController();
  const signals = onSignals(abort);
  const { output, html } = words;
  try {
    for (const file of [output, html]) if (file !== null) checkWritable(file);
    // What is wrong with this file is said before a process is asked.
    const against = words.against === null ? undefined : fileOf(words.against);
    const before = against && readProfile(against, words.against!);
    const bytes = await profileOf(words, abort.signal);
    const profile = readProfile(bytes, words.profile ?? `the profile of process ${words.pid}`);
    if (output !== null) {
      replaceFile(output, against === undefined ? bytes : diff(against, bytes));
      say(`profile: ${output}`);
    }
    if (html !== null) {
      replaceFile(html, page(profile, before));
      say(`page: ${html}`);
    }
  } catch (error) {
    process.exitCode = signals.failed(error);
  } finally {
    signals.end();
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.exitCode = fail(error);
});
