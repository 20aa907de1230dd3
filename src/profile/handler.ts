import { captures } from './heap-profile.js';
import { type HeapProfileHandler, handlerOf } from './live/handler.js';

/**
 * Makes a handler that answers with a heap profile of this process, for node:http, Express and Fastify. The handler knows the
 * parameters `seconds` and `gc` of Go's `net/http/pprof`, and refuses all others. It answers at every path: you mount it. A
 * profile shows names and paths of your code, so mount it where only your own network reaches it. docs/profile-live.md has
 * examples, and a configuration for Parca.
 */
export function heapProfileHandler(): HeapProfileHandler {
  return handlerOf(captures);
}
