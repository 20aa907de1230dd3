// The packages as they would be published, and a registry on loopback that has them.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from './shims.js';

const execute = promisify(execFile);

export interface Packed {
  manifest: { name: string; version: string };
  tarball: string;
}

/** The folders of the platforms' packages. */
export const platforms: readonly string[] = readdirSync(join(root, 'npm'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

async function pack(folder: string, to: string): Promise<Packed> {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Packed['manifest'];
  await execute('npm', ['pack', '--ignore-scripts', '--pack-destination', to], { cwd: folder });
  const file = `${manifest.name.replace(/^@/, '').replace('/', '-')}-${manifest.version}.tgz`;
  return { manifest, tarball: join(to, file) };
}

/**
 * Packs the root, as it is built, and every platform's package; what this machine has not built is a placeholder. With
 * them come `one` and `other`, which have nothing.
 */
export async function packAll(scratch: string): Promise<Packed[]> {
  const [checkout, to] = [join(scratch, 'published'), join(scratch, 'tarballs')];
  for (const folder of [checkout, to]) mkdirSync(folder, { recursive: true });
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] };
  // Of dist all but the tests.
  const parts = [
    'dist/cli',
    'dist/src',
    ...readdirSync(join(root, 'dist'))
      .filter((name) => name.startsWith('index.'))
      .map((name) => `dist/${name}`),
  ];
  // A pattern's folder stands for it: npm picks.
  const others = files.filter((file) => !file.includes('dist')).map((file) => file.replace(/\/\*.*/, ''));
  for (const each of ['package.json', 'npm', 'README.md', 'LICENSE', ...parts, ...others])
    cpSync(join(root, each), join(checkout, each), {
      recursive: true,
      filter: (path) => !path.includes('node_modules'),
    });
  await execute(process.execPath, [join(checkout, 'npm', 'manifest.mjs'), 'versions']);
  const folders = platforms.map((name) => join(checkout, 'npm', name));
  for (const folder of folders) {
    const { files: listed } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      files: string[];
    };
    for (const file of listed.map((name) => join(folder, name)))
      if (!existsSync(file)) writeFileSync(file, 'of another platform', { mode: 0o755 });
  }
  const empty = ['one', 'other'].map((name) => {
    const folder = join(scratch, 'others', name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, version: '1.0.0' }));
    return folder;
  });
  const packed: Packed[] = [];
  for (const folder of [checkout, ...folders, ...empty]) packed.push(await pack(folder, to));
  return packed;
}

export interface Registry {
  url: string;
  close(): void;
}

/** Serves them, and nothing else: what a package manager asks for beside them is not there. */
export async function serve(packed: readonly Packed[]): Promise<Registry> {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', url).pathname).slice(1);
    const file = packed.find(({ tarball }) => tarball.endsWith(path) && path.startsWith('tarballs/'));
    if (file !== undefined) return response.end(readFileSync(file.tarball));
    const found = packed.find(({ manifest }) => manifest.name === path);
    if (found === undefined) return response.writeHead(404, { 'content-type': 'application/json' }).end('{}');
    const { manifest, tarball } = found;
    const bytes = readFileSync(tarball);
    const hash = (name: string, encoding: 'hex' | 'base64') =>
      createHash(name).update(bytes).digest(encoding);
    const dist = {
      tarball: `${url}tarballs/${tarball.split('/').at(-1)}`,
      shasum: hash('sha1', 'hex'),
      integrity: `sha512-${hash('sha512', 'base64')}`,
    };
    const { name, version } = manifest;
    response.writeHead(200, { 'content-type': 'application/json' }).end(
      JSON.stringify({
        name,
        'dist-tags': { latest: version },
        versions: { [version]: { ...manifest, dist } },
        // Long ago: some install nothing that is younger than a day.
        time: {
          created: '2020-01-01T00:00:00.000Z',
          modified: '2020-01-01T00:00:00.000Z',
          [version]: '2020-01-01T00:00:00.000Z',
        },
      }),
    );
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return {
    url,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
