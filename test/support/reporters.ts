// Reports why tests were skipped.

import { writeFileSync } from 'node:fs';
import { JUnitReporter, type Reporter, type TestModule } from 'vitest/node';

/** The reason of each skipped test, by its id. A test that a filter leaves out has none. */
function skipReasons(modules: readonly TestModule[]): Map<string, string> {
  const reasons = new Map<string, string>();
  for (const module of modules)
    for (const test of module.children.allTests('skipped')) {
      const result = test.result();
      if (result.state === 'skipped' && result.note !== undefined) reasons.set(test.id, result.note);
    }
  return reasons;
}

/** Each reason, with the number of its tests. */
function countedReasons(modules: readonly TestModule[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const reason of skipReasons(modules).values()) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return counts;
}

/** Lists the reasons at the end of the run. */
export class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = countedReasons(modules);
    if (counts.size === 0) return;
    const lines = [...counts].map(([reason, count]) => `${String(count).padStart(6)}  ${reason}\n`);
    process.stdout.write(`Skipped:\n${lines.join('')}\n`);
  }
}

/** What a program that runs the tests needs of them, as JSON. */
export interface Summary {
  passed: number;
  /** The names of the tests, and of the files that could not be loaded. */
  failed: string[];
  skipped: Record<string, number>;
}

/** Writes a summary into a file. */
export class SummaryReporter implements Reporter {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const named = (state: 'passed' | 'failed') =>
      modules.flatMap((module) =>
        [...module.children.allTests(state)].map((test) => `${module.relativeModuleId}: ${test.fullName}`),
      );
    const broken = modules.filter((module) => module.errors().length > 0);
    const summary: Summary = {
      passed: named('passed').length,
      failed: [...named('failed'), ...broken.map((module) => module.relativeModuleId)],
      skipped: Object.fromEntries(countedReasons(modules)),
    };
    writeFileSync(this.#file, JSON.stringify(summary));
  }
}

type Tasks = Parameters<JUnitReporter['writeTasks']>[0];

/** Writes the reason as a property of the test: vitest's own reporter writes `<skipped/>` alone. */
export class JUnitSkipReporter extends JUnitReporter {
  #reasons = new Map<string, string>();

  override onTestRunEnd(modules: readonly TestModule[]): Promise<void> {
    this.#reasons = skipReasons(modules);
    return super.onTestRunEnd(modules);
  }

  override writeTasks(tasks: Tasks, filename: string): Promise<void> {
    for (const task of tasks) {
      const message = this.#reasons.get(task.id);
      if (task.type === 'test' && message !== undefined) task.annotations.push({ type: 'skipped', message });
    }
    return super.writeTasks(tasks, filename);
  }
}
