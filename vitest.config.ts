// vitest reads the tests from test/ and everything else from dist/: the tests check the package as it is built.

import { defineConfig } from 'vitest/config';
import { JUnitSkipReporter, SkipReporter, SummaryReporter } from './test/support/reporters.js';

const dist = `${import.meta.dirname}/dist`;

/** `--mode deploy` runs the recipes of docs/deploy.md instead, which install programs from the registries. */
export default defineConfig(({ mode }) => ({
  resolve: {
    // What a test imports from outside test/. One copy of each module: child programs and workers load it too.
    alias: [{ find: /^(?:\.\.\/)+((?:index|src\/.+|bench\/.+)\.js)$/, replacement: `${dist}/$1` }],
  },
  server: { watch: { ignored: ['**/dist/**', '**/target/**'] } },
  test: {
    include: [mode === 'deploy' ? 'test/deploy/*.test.ts' : 'test/*.test.ts'],
    server: { deps: { external: [/\/dist\//] } },
    pool: 'forks',
    maxWorkers: 2,
    maxConcurrency: 2,
    // test/support/progress.ts ends a test that makes no progress. A slow machine may take as long as it needs.
    testTimeout: 0,
    hookTimeout: 0,
    slowTestThreshold: 60_000,
    setupFiles: 'test/support/setup.ts',
    globalSetup: 'test/support/rebuild.ts',
    forceRerunTriggers: [
      'index.ts',
      'src/**',
      'bench/**',
      'examples/**',
      'test/fixtures-ts/**',
      'test/fuzz/**',
    ].map((glob) => `${import.meta.dirname}/${glob}`),
    reporters: [
      'default',
      new SkipReporter(),
      ...(process.env['CI'] ? [new JUnitSkipReporter({ outputFile: `dist/junit/${mode}.xml` })] : []),
      // platforms
      ...(process.env['TEST_SUMMARY'] ? [new SummaryReporter(process.env['TEST_SUMMARY'])] : []),
      ...(process.env['GITHUB_ACTIONS'] ? ['github-actions' as const] : []),
    ],
    coverage: {
      provider: 'custom',
      customProviderModule: 'test/support/coverage.ts',
      include: ['dist/src/**/*.js'],
      // The commands run as bundles, and what execve(2) replaces writes no coverage.
      exclude: ['dist/src/cli/**'],
      reportsDirectory: 'dist/coverage',
      reportOnFailure: true,
    },
  },
}));
