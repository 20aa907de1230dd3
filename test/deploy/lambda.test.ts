// The recipe of docs/deploy.md for AWS Lambda: the layer as it is unpacked, under the runtime clients of AWS, which ask a
// Runtime API of this file for events.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cpSync, existsSync } from 'node:fs';
import { type IncomingMessage, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import * as tools from '../fixtures-ts/tools.js';
import { LIBRARY, missing, npmInstalled, pipInstalled, starter } from '../support/deploy.js';
import { recipe } from '../support/recipes.js';
import { succeed } from '../support/run.js';
import { cannotPreload } from '../support/shims.js';
import { describe, test } from '../support/suite.js';

async function body(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** A Runtime API with so many events. Once they are answered, it holds the next request, as Lambda does. */
async function runtimeApi(events: number) {
  const answers: string[] = [];
  let asked = 0;
  const server = createServer((request, response) => {
    void (async () => {
      const path = request.url ?? '';
      if (path.endsWith('/runtime/invocation/next')) {
        if (++asked > events) return;
        const headers = {
          'Lambda-Runtime-Aws-Request-Id': `id-${asked}`,
          'Lambda-Runtime-Deadline-Ms': `${Date.now() + 3_600_000}`,
          'Lambda-Runtime-Invoked-Function-Arn': 'arn:aws:lambda:eu-west-1:1:function:api',
          'Content-Type': 'application/json',
        };
        response.writeHead(200, headers).end(JSON.stringify({ number: asked }));
        return;
      }
      answers.push(`${path.replace('/2018-06-01/runtime/', '')} ${await body(request)}`);
      response.writeHead(202, { 'Content-Type': 'application/json' }).end('{"status":"OK"}');
    })();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    answers,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** What Lambda's own bootstrap of a runtime does: the wrapper gets the interpreter and all of its arguments. */
const BOOTSTRAP = `#!/bin/sh
[ -n "$AWS_LAMBDA_EXEC_WRAPPER" ] || exec "$@"
exec "$AWS_LAMBDA_EXEC_WRAPPER" "$@"
`;

describe('deploy', { skip: cannotPreload }, () => {
  const started = starter();

  recipe('AWS Lambda, as a layer', (take) => {
    const wrapper = take('sh');

    /** The layer, zipped and unpacked: what Lambda has in /opt. */
    async function layer(): Promise<string> {
      const [from, to] = [tools.scratch('layer'), tools.scratch('opt')];
      tools.copyOfBinaries('layer/malloc-backend');
      tools.file('layer/lambda-wrapper', wrapper);
      await succeed('zip', ['-qr', '../layer.zip', '.'], { cwd: from });
      await succeed('unzip', ['-qo', tools.scratch('layer.zip'), '-d', to]);
      return to;
    }

    /** Runs the function for so many events, and gives its answers. */
    async function invoked(
      runtime: string[],
      env: Record<string, string>,
      wrapped = true,
    ): Promise<string[]> {
      const api = await runtimeApi(3);
      const bootstrap = tools.file('bootstrap', BOOTSTRAP);
      const opt = await layer();
      const pid = started(bootstrap, runtime, {
        cwd: tools.scratch('.'),
        env: {
          AWS_LAMBDA_RUNTIME_API: api.address,
          AWS_LAMBDA_FUNCTION_NAME: 'api',
          AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
          AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '128',
          AWS_LAMBDA_LOG_GROUP_NAME: 'group',
          AWS_LAMBDA_LOG_STREAM_NAME: 'stream',
          AWS_REGION: 'eu-west-1',
          LAMBDA_TASK_ROOT: tools.scratch('.'),
          ...(wrapped ? { AWS_LAMBDA_EXEC_WRAPPER: `${opt}/lambda-wrapper` } : {}),
          ...env,
        },
      });
      try {
        await tools.until('the answers', () => api.answers.length >= 3 || !existsSync(`/proc/${pid}`));
        return api.answers;
      } finally {
        api.close();
      }
    }

    const answers = (backend: string) =>
      [1, 2, 3].map((n) => `invocation/id-${n}/response "${backend} ${n}"`);
    const zip = missing('zip') || missing('unzip');

    test('a function in Python, under awslambdaric', { skip: zip }, async (t) => {
      const { folder, why } = pipInstalled('lambda', ['awslambdaric==4.2.2']);
      if (why !== false) return t.skip(why);
      tools.file(
        'app.py',
        `import re
def handler(event, context):
    found = re.search('libmalloc_backend_([a-z]+)', open('/proc/self/maps').read())
    return f"{found.group(1) if found else 'none'} {event['number']}"
`,
        0o644,
      );
      const runtime = [join(folder, 'bin/python3'), '-m', 'awslambdaric', 'app.handler'];
      assert.deepEqual(await invoked(runtime, {}), answers('jemalloc'));
      assert.deepEqual(await invoked(runtime, {}, false), answers('none'));
    });

    test('a function in Node, under aws-lambda-ric', { skip: zip }, async (t) => {
      const { folder, why } = npmInstalled('lambda-node', ['aws-lambda-ric@4.0.2'], ['--ignore-scripts']);
      if (why !== false) return t.skip(why);
      // Its native client takes cmake and minutes to build. A function that streams its answer does without; but loaded it is.
      const client = 'void *napi_register_module_v1(void *env, void *exports) { return exports; }';
      const ric = join(folder, 'node_modules/aws-lambda-ric');
      cpSync(tools.cc('rapid-client.node', client, ['-shared', '-fPIC']), join(ric, 'rapid-client.node'));
      tools.file(
        'index.cjs',
        `exports.handler = awslambda.streamifyResponse(async (event, stream) => {
          stream.write(JSON.stringify(${LIBRARY} + ' ' + event.number));
          stream.end();
        });`,
      );
      const options = ['--expose-gc', '--max-semi-space-size=8', '--max-old-space-size=112'];
      const runtime = [process.execPath, ...options, join(ric, 'index.mjs')];
      const env = { _HANDLER: 'index.handler', AWS_LAMBDA_NODEJS_USE_ALTERNATIVE_CLIENT_1: 'true' };
      assert.deepEqual(await invoked(runtime, env), answers('jemalloc'));
      assert.deepEqual(await invoked(runtime, env, false), answers('none'));
    });
  });
});
