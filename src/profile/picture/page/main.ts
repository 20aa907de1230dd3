// The script of the page. `npm/bundle.mjs` makes one text of it and of what it imports.

import type { Data } from '../data.js';
import { type Column, TABLES, body } from '../tables.js';
import { Flame } from './flame.js';

function element<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

const data = JSON.parse(element('profile').textContent) as Data;
const chosen = element<HTMLSelectElement>('type');
const search = element<HTMLInputElement>('search');
const found = element('found');
const order = new Map<string, Column>(TABLES.map((table) => [table, 'own']));

const flame = new Flame(data, {
  tree: element('flame'),
  details: element('details'),
  out: element<HTMLButtonElement>('out'),
  reset: element<HTMLButtonElement>('reset'),
  status: element('status'),
});

function tables(): void {
  for (const table of TABLES) {
    const { rows, count } = body(data, Number(chosen.value), table, {
      sort: order.get(table)!,
      search: search.value.trim(),
    });
    const section = element(table);
    // Text of the profile is escaped in these rows (markup.ts).
    section.querySelector('tbody')!.innerHTML = rows.text;
    section.querySelector('.count')!.textContent = count;
  }
}

for (const table of TABLES)
  for (const head of element(table).querySelectorAll<HTMLElement>('th[data-sort]')) {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      order.set(table, head.dataset['sort'] as Column);
      for (const each of element(table).querySelectorAll('th[data-sort]')) each.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', head.dataset['sort'] === 'name' ? 'ascending' : 'descending');
      tables();
    });
  }

chosen.addEventListener('change', () => {
  flame.show(Number(chosen.value));
  found.textContent = flame.find(search.value.trim());
  tables();
});

let waiting: ReturnType<typeof setTimeout> | undefined;
search.addEventListener('input', () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    found.textContent = flame.find(search.value.trim());
    tables();
  }, 100);
});

for (const each of document.querySelectorAll<HTMLElement>('.scripted')) each.hidden = false;
// A browser keeps what was chosen before a reload.
flame.show(Number(chosen.value));
found.textContent = flame.find(search.value.trim());
tables();
