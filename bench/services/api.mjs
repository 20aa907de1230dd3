// A JSON API on Fastify: each request parses a document, filters the rows and serialises them by a schema.
import Fastify from 'fastify';

const row = {
  type: 'object',
  properties: {
    id: { type: 'integer' },
    name: { type: 'string' },
    tags: { type: 'array', items: { type: 'string' } },
    total: { type: 'number' },
  },
};
const document = JSON.stringify(
  Array.from({ length: 2000 }, (_, id) => ({
    id,
    name: `customer ${id}`,
    tags: ['a', 'b', `t${id % 17}`],
    total: id * 1.07,
  })),
);
const app = Fastify();
let number = 0;
app.get('/', { schema: { response: { 200: { type: 'array', items: row } } } }, () => {
  const wanted = number++ % 3;
  return JSON.parse(document).filter(({ id }) => id % 3 === wanted);
});
app.post('/', (request) => ({ received: Object.keys(request.body).length }));
await app.listen({ port: Number(process.env.PORT ?? 0), host: '127.0.0.1' });
console.log(`ready on ${app.server.address().port}`);
process.once('SIGTERM', () => app.close());
