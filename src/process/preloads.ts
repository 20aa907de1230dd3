import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The modules that Node runs before the given module, as the options name them. Node runs all modules of `--require` before
 * those of `--import`, and within each of them the modules of NODE_OPTIONS before those of the command line. Empty if no
 * option names the given module.
 */
export function before(isModule: (specifier: string) => boolean): string[] {
  const words = [...split(process.env['NODE_OPTIONS'] ?? ''), ...process.execArgv];
  const required = values(words, ['--require', '-r']);
  const all = [...required, ...values(words, ['--import'])];
  const at = all.findIndex(isModule);
  return at < 0 ? [] : all.slice(0, at);
}

/** The values of these options. */
function values(words: readonly string[], names: readonly string[]): string[] {
  return words.flatMap((word, at) => {
    const [name = '', ...inline] = word.split('=');
    if (!names.includes(name)) return [];
    const value = inline.length > 0 ? inline.join('=') : words[at + 1];
    return value === undefined ? [] : [value];
  });
}

/** Splits NODE_OPTIONS as Node does: at spaces outside double quotes. A backslash escapes the next character. */
function split(text: string): string[] {
  return [...text.matchAll(/(?:"(?:\\.|[^"\\])*"|[^ "])+/g)].map(([word]) =>
    word.replace(/\\(.)|"/g, (_, escaped: string | undefined) => escaped ?? ''),
  );
}

/** Whether the specifier names that file, by its path or its URL. */
export function isFile(specifier: string, file: string): boolean {
  try {
    const path = specifier.startsWith('file:') ? fileURLToPath(specifier) : resolve(specifier);
    return realpathSync(path) === realpathSync(file);
  } catch {
    // There is no file of this name, so the specifier names a package.
    return false;
  }
}
