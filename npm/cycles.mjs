// Finds files of a crate that need each other, directly or through others. `node npm/cycles.mjs` prints each cycle and exits
// with 1 if there is one. For TypeScript oxlint's import/no-cycle does the same.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const identifier = /^[A-Za-z_]\w*$/;

/** The module of a file: `crates/x/src/a/mod.rs` and `crates/x/src/a.rs` are both `a`, and the crate's root is ''.
 * @param {string} file relative to the crate's `src` */
function moduleOf(file) {
  return file
    .replace(/\.rs$/, '')
    .split('/')
    .filter((name, at, all) => !(at === all.length - 1 && ['mod', 'lib', 'main'].includes(name)))
    .join('::');
}

/** The paths that a `use` tree names: `a::{b, c::d}` are `a::b` and `a::c::d`.
 * @param {string} tree @returns {string[]} */
function paths(tree) {
  const open = tree.indexOf('{');
  if (open < 0) return [tree.replace(/\s+as\s+\w+/, '').trim()];
  const [prefix, inside] = [tree.slice(0, open), tree.slice(open + 1, tree.lastIndexOf('}'))];
  const parts = [''];
  let depth = 0;
  for (const character of inside) {
    if (character === ',' && depth === 0) parts.push('');
    else parts[parts.length - 1] += character;
    depth += Number(character === '{') - Number(character === '}');
  }
  return parts.filter((part) => part.trim() !== '').flatMap((part) => paths(prefix.trim() + part.trim()));
}

/** The code, in which a module within the file calls the file's own module `self`, too.
 * @param {string} code @returns {string} */
function withoutInner(code) {
  const [opening] = /\bmod \w+ \{/.exec(code) ?? [];
  if (opening === undefined) return code;
  const start = code.indexOf(opening) + opening.length;
  let end = start;
  for (let depth = 1; depth > 0 && end < code.length; end++) {
    depth += Number(code[end] === '{') - Number(code[end] === '}');
  }
  const inner = code.slice(start, end).replace(/\bsuper::/g, 'self::');
  return code.slice(0, start).replace(opening, '{') + inner + withoutInner(code.slice(end));
}

/** The modules that a file's code names, each as far as it is a module of the crate.
 * @param {string} module @param {string} text @param {Set<string>} modules @param {Map<string, Map<string, string>>} exported */
function needs(module, text, modules, exported) {
  const code = withoutInner(text.replace(/\/\/.*|"(?:[^"\\]|\\.)*"/g, ''));
  const uses = [...code.matchAll(/(?<!pub )(?<!pub\(\w+\) )\buse\s+((?:crate|super|self)\b[^;]*);/g)];
  const named = uses.flatMap(([, tree]) => paths(tree));
  const inline = [...code.matchAll(/\b((?:crate|super)(?:::\w+)+)/g)].map(([path]) => path);
  const own = code.replace(/\bpub(?:\(\w+\))?\s+use\s[^;]*;/g, '');
  const below = [...modules].filter((name) => name.startsWith(module && `${module}::`) && name !== module);
  for (const name of below) {
    const local = module === '' ? name : name.slice(module.length + 2);
    if (new RegExp(`(?<![\\w:])${local}::[\\w{]`).test(own)) named.push(`self::${local}::_`);
  }
  const above = module.split('::').slice(0, -1);
  /** @type {Set<string>} */
  const found = new Set();
  for (const path of [...named, ...inline]) {
    const words = path.split('::').filter((word) => identifier.test(word));
    let base = words[0] === 'crate' ? [] : words[0] === 'self' ? module.split('::') : above;
    let rest = words.slice(1);
    while (rest[0] === 'super') [base, rest] = [base.slice(0, -1), rest.slice(1)];
    let at = base.filter(Boolean);
    while (rest.length > 0 && modules.has([...at, rest[0]].join('::')))
      [at, rest] = [[...at, rest[0]], rest.slice(1)];
    // What a module hands on is the module's that has it.
    const owner = exported.get(at.join('::'))?.get(rest[0] ?? '') ?? at.join('::');
    if (owner !== module && modules.has(owner)) found.add(owner);
  }
  return found;
}

/** What a module hands on from one below it, by name.
 * @param {string} module @param {string} text @param {Set<string>} modules */
function exports(module, text, modules) {
  /** @type {Map<string, string>} */
  const names = new Map();
  for (const [, tree] of text.matchAll(/\bpub(?:\(\w+\))?\s+use\s+([^;]*);/g)) {
    for (const path of paths(tree)) {
      const words = path.replace(/^(crate|self)::/, '').split('::');
      const name = words.at(-1) ?? '';
      for (let length = words.length - 1; length > 0; length--) {
        const below = [...module.split('::'), ...words.slice(0, length)].filter(Boolean).join('::');
        if (!modules.has(below)) continue;
        names.set(name, below);
        break;
      }
    }
  }
  return names;
}

/** Every group of modules of which each needs every other (Tarjan's strongly connected components).
 * @param {Map<string, Set<string>>} graph */
function groups(graph) {
  /** @type {Map<string, { index: number, low: number, on: boolean }>} */
  const seen = new Map();
  /** @type {string[]} */
  const stack = [];
  /** @type {string[][]} */
  const found = [];
  /** @param {string} module */
  const visit = (module) => {
    const own = { index: seen.size, low: seen.size, on: true };
    seen.set(module, own);
    stack.push(module);
    for (const next of graph.get(module) ?? []) {
      const other = seen.get(next) ?? visit(next);
      if (other.on) own.low = Math.min(own.low, other.low);
    }
    if (own.low === own.index) {
      const group = stack.splice(stack.indexOf(module));
      for (const each of group) seen.get(each).on = false;
      if (group.length > 1) found.push(group);
    }
    return own;
  };
  for (const module of graph.keys()) if (!seen.has(module)) visit(module);
  return found;
}

let cycles = 0;
for (const crate of readdirSync(join(root, 'crates'))) {
  const source = join(root, 'crates', crate, 'src');
  if (!existsSync(source)) continue;
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.rs') && !/(^|\/)tests(\.rs|\/)/.test(file),
  );
  const texts = new Map(files.map((file) => [moduleOf(file), readFileSync(join(source, file), 'utf8')]));
  const modules = new Set(texts.keys());
  const exported = new Map([...texts].map(([module, text]) => [module, exports(module, text, modules)]));
  const graph = new Map([...texts].map(([module, text]) => [module, needs(module, text, modules, exported)]));
  for (const group of groups(graph)) {
    cycles += 1;
    console.error(`crates/${crate}: these files need each other:`);
    for (const module of group) {
      const needed = [...(graph.get(module) ?? [])].filter((next) => group.includes(next));
      console.error(`  ${module || 'lib'} needs ${needed.map((name) => name || 'lib').join(', ')}`);
    }
  }
}
process.exitCode = cycles > 0 ? 1 : 0;
