import { MallocBackendError } from '../errors.js';
import type { SwitchOptions } from '../process/environment.js';
import type { AllocatorOptions, Preset } from '../process/presets.js';

/** The options that `run` and `env` share, for `util.parseArgs`. */
export const switchingOptions = {
  preset: { type: 'string' },
  set: { type: 'string', multiple: true },
  children: { type: 'string' },
} as const;

export const switchingHelp = `  --preset <name>      what the allocator is tuned for: low-rss, balanced (the default), throughput, or none
                       for the allocator's own defaults
  --set <key=value>    one option of the allocator, over the preset; may be given again
  --children <which>   whether the programs that it starts are switched too: inherit (the default) or none`;

/** The values of these options as {@link SwitchOptions}. What is wrong with a value is said where it is used. */
export function switching(values: { preset?: string; set?: string[]; children?: string }): SwitchOptions {
  return {
    ...(values.preset === undefined ? {} : { preset: values.preset as Preset }),
    ...(values.children === undefined ? {} : { children: values.children as 'inherit' | 'none' }),
    set: Object.fromEntries((values.set ?? []).map(pair)) satisfies AllocatorOptions,
  };
}

function pair(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new MallocBackendError('ERR_INVALID_ARGUMENT', `--set wants key=value, not ${JSON.stringify(text)}`);
}
