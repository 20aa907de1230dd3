// What the tests fork: it answers every message by the same, and hangs up at `end`.

console.log(JSON.stringify({ argv: process.argv.slice(2), execArgv: process.execArgv }));
process.on('message', (message) => {
  // (Node does not take a disconnect while it is at a message.)
  if (message === 'end') setImmediate(() => process.disconnect());
  else process.send?.(message);
});
