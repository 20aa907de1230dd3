// One server for the services: each request does one piece of work. It says when it is ready.
import { createServer } from 'node:http';

/** @param {(number: number) => Promise<Buffer | string> | Buffer | string} work */
export function serve(work) {
  let number = 0;
  const server = createServer(async (_request, response) => {
    try {
      response.end(await work(number++));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
    console.log(`ready on ${server.address().port}`);
  });
  process.once('SIGTERM', () => {
    server.close();
    server.closeAllConnections();
  });
}
