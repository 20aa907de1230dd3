// The process that makes the load. It is one of its own, so that neither the sampling nor the comparison disturbs the times. It
// ends when the comparison ends or is gone.

import { endCommand, loadByCommand } from './command.js';
import { loadByHttp } from './http.js';
import type { LoadMessage, LoadTask } from './messages.js';

async function load(task: LoadTask): Promise<LoadMessage> {
  try {
    const report = task.kind === 'http' ? await loadByHttp(task) : await loadByCommand(task);
    return { type: 'done', report };
  } catch (error) {
    return { type: 'failed', message: (error as Error).message };
  }
}

process.once('message', (task: LoadTask) => {
  void load(task).then((message) => process.send?.(message, () => process.exit()));
});
process.once('disconnect', () => void endCommand().then(() => process.exit()));
