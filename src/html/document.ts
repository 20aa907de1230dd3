// A page of our own as one file, which loads nothing.

import { createHash } from 'node:crypto';
import { Markup, markup } from './markup.js';

/** The parts of a page. */
export interface Page {
  title: string;
  /** What made the page: `malloc-backend 0.1.0`. */
  generator: string;
  style: string;
  /** Whether elements have style attributes of their own. */
  hasStyleAttributes: boolean;
  script: string;
  /** Before the navigation. */
  header: Markup;
  /** What the navigation is called. */
  navigation: string;
  /** The id and the name of each part that the navigation leads to. */
  parts: readonly (readonly [id: string, name: string])[];
  content: Markup;
  /** What the script reads: the id of its element, and the value. */
  data?: readonly [id: string, value: unknown];
}

export function document(page: Page): string {
  const { data } = page;
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${policy(page)}">
<meta name="generator" content="${page.generator}">
<title>${page.title}</title>
<link rel="icon" href="data:,">
<style>${new Markup(page.style)}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
${page.header}
<nav aria-label="${page.navigation}"><ul>${page.parts.map(([id, name]) => markup`<li><a href="#${id}">${name}</a></li>`)}</ul></nav>
<main id="content" tabindex="-1">
${page.content}
</main>
<footer><p>Made by ${page.generator}. This file loads nothing from a network.</p></footer>
${data && markup`<script type="application/json" id="${data[0]}">${new Markup(embedded(data[1]))}</script>`}
<script>${new Markup(page.script)}</script>
</body>
</html>
`.text;
}

/** Also if a name were not escaped, nothing would be loaded or run. */
function policy({ style, hasStyleAttributes, script }: Page): string {
  return [
    "default-src 'none'",
    `style-src ${hasStyleAttributes ? "'unsafe-inline'" : hash(style)}`,
    `script-src ${hash(script)}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
}

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** JSON that ends no element and begins no comment. */
const embedded = (value: unknown): string => JSON.stringify(value).replaceAll('<', '\\u003c');
