// A service on SQLite: each request writes 200 rows in a transaction, and reads a report that sorts in memory.
import Database from 'better-sqlite3';
import { serve } from './serve.mjs';

const db = new Database(':memory:');
db.exec(`
  PRAGMA temp_store = MEMORY;
  CREATE TABLE event (id INTEGER PRIMARY KEY, at INTEGER, kind TEXT, body TEXT);
  CREATE INDEX event_kind ON event (kind, at);
`);
const insert = db.prepare('INSERT INTO event (at, kind, body) VALUES (?, ?, ?)');
const remove = db.prepare('DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - 20000');
const report = db.prepare(
  'SELECT kind, count(*) AS n, group_concat(substr(body, 1, 8)) AS bodies FROM event GROUP BY kind ORDER BY n DESC',
);
const write = db.transaction((number) => {
  for (let i = 0; i < 200; i++)
    insert.run(number * 200 + i, `kind ${(number * 31 + i) % 40}`, 'x'.repeat(64 + ((i * 37) % 512)));
  remove.run();
});

serve((number) => {
  write(number);
  return JSON.stringify(report.all());
});
