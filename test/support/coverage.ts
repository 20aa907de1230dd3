// Coverage of src in every Node that the tests start, beside vitest's own coverage of the process of the tests. Node
// writes it for each process to the folder that NODE_V8_COVERAGE names.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import v8 from '@vitest/coverage-v8';
import { V8CoverageProvider } from '@vitest/coverage-v8/dist/provider.js';
import type { CoverageProviderModule, Vitest } from 'vitest/node';
import { root } from './shims.js';

const folder = join(root, 'dist', 'coverage', 'programs');
const own = pathToFileURL(join(root, 'dist', 'src', '/')).href;

interface Coverage {
  result: { url: string }[];
}

/** The coverage of the package in each program. A process that was killed may not have written all of its file. */
function* written(): Generator<Coverage> {
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const text = readFileSync(join(folder, name), 'utf8');
    if (!text.endsWith('}')) continue;
    const { result } = JSON.parse(text) as Coverage;
    yield { result: result.filter(({ url }) => url.startsWith(own)) };
  }
}

class ProgramCoverageProvider extends V8CoverageProvider {
  override initialize(vitest: Vitest): void {
    super.initialize(vitest);
    process.env['NODE_V8_COVERAGE'] = folder;
    // The package is built without source maps, which would only make it larger.
    execFileSync('npx', ['tsc', '--inlineSourceMap'], { cwd: root, stdio: 'inherit' });
  }

  override readCoverageFiles: V8CoverageProvider['readCoverageFiles'] = (callbacks) =>
    super.readCoverageFiles({
      ...callbacks,
      onFinished: async (project, environment) => {
        for (const coverage of written()) callbacks.onFileRead(coverage as never);
        await callbacks.onFinished(project, environment);
      },
    });
}

export default {
  ...v8,
  getProvider: () => new ProgramCoverageProvider(),
} satisfies CoverageProviderModule;
