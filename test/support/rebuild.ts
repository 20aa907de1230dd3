// In watch mode: compiles before each rerun, so that the tests see a change of src.

import { spawnSync } from 'node:child_process';
import type { TestProject } from 'vitest/node';

export default function rebuild(project: TestProject): void {
  project.onTestsRerun(async () => {
    // The compiler shows its errors. The tests run on what it wrote.
    spawnSync('npm', ['run', '--silent', 'build:ts'], { stdio: 'inherit' });
  });
}
