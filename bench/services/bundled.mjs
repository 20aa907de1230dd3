// The input of bundle.mjs.
export { renderToString } from 'react-dom/server';
export { default as fastify } from 'fastify';
