/** `npm/bundle.mjs` puts the script here: page/main.ts with what it imports, as one text. */
declare const PAGE_SCRIPT: string;

/** What the page does: the flame graph, another type of figures, the search, the order of the tables. */
export const SCRIPT: string = PAGE_SCRIPT;
