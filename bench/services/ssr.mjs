// Server-side rendering with React: each request renders a table of 400 rows as a stream.
import { createElement as h } from 'react';
import { renderToPipeableStream } from 'react-dom/server';
import { Writable } from 'node:stream';
import { serve } from './serve.mjs';

const Row = ({ id, seed }) =>
  h(
    'tr',
    { className: id % 2 === 0 ? 'even' : 'odd' },
    h('td', null, id),
    h('td', { title: `row ${id}` }, `Name ${(id * 7919 + seed) % 1009}`),
    h('td', null, h('a', { href: `/item/${id}` }, ((id * seed) % 97).toFixed(2))),
  );
const Page = ({ seed }) =>
  h(
    'html',
    null,
    h('head', null, h('title', null, `Page ${seed}`)),
    h(
      'body',
      null,
      h(
        'table',
        null,
        h(
          'tbody',
          null,
          Array.from({ length: 400 }, (_, id) => h(Row, { key: id, id, seed })),
        ),
      ),
    ),
  );

serve(
  (seed) =>
    new Promise((resolve, reject) => {
      const chunks = [];
      const sink = new Writable({
        write(chunk, _encoding, done) {
          chunks.push(chunk);
          done();
        },
      });
      sink.once('finish', () => resolve(Buffer.concat(chunks)));
      const { pipe } = renderToPipeableStream(h(Page, { seed }), {
        onShellReady: () => pipe(sink),
        onError: reject,
      });
    }),
);
