// A spike: sends argument 2 requests to the URL in argument 1, eight at a time, and prints the answers in a second.
import { Agent, get } from 'node:http';

const [url, requests] = [process.argv[2], Number(process.argv[3])];
const agent = new Agent({ keepAlive: true, maxSockets: 8 });
let sent = 0;
let errors = 0;

function request() {
  return new Promise((resolve) => {
    get(url, { agent }, (response) => {
      if (response.statusCode !== 200) errors++;
      response.resume().once('close', resolve);
    }).once('error', () => {
      errors++;
      resolve();
    });
  });
}

async function connection() {
  while (sent++ < requests) await request();
}

const start = performance.now();
await Promise.all(Array.from({ length: 8 }, connection));
console.log(JSON.stringify({ throughput: (requests * 1000) / (performance.now() - start), errors }));
agent.destroy();
