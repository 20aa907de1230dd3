import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * What Node runs before a module of `--require` or `--import`, as it is named there: those of NODE_OPTIONS before those of the
 * command line, and all of `--require` before those of `--import`. Nothing where the module is not named there.
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

/** As Node takes NODE_OPTIONS apart: at spaces that are not in double quotes, with a backslash before what is meant as such. */
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
    // No file of that name: it is a package's.
    return false;
  }
}
