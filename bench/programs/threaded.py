"""Threads: four that parse, hash, compress and sort what a fifth hands them, and hand the results on."""

import hashlib
import json
import queue
import sys
import threading
import zlib

from slices import turns

work, done = queue.Queue(64), queue.Queue()


def worker():
    while (item := work.get()) is not None:
        record = json.loads(item)
        rows = sorted(record["rows"], key=lambda row: row["v"])
        packed = zlib.compress(json.dumps(rows).encode(), 1)
        done.put((record["id"], hashlib.sha256(packed).hexdigest(), packed))


threads = [threading.Thread(target=worker) for _ in range(4)]
for thread in threads:
    thread.start()
for number in turns(int(sys.argv[1])):
    rows = [{"v": i * 7919 % 1009 ^ number & 255, "t": f"row {i}"} for i in range(300)]
    work.put(json.dumps({"id": number, "rows": rows}))
for _ in threads:
    work.put(None)
for thread in threads:
    thread.join()
results = sorted(done.get() for _ in range(done.qsize()))
print(hashlib.sha256("".join(digest for _, digest, _ in results).encode()).hexdigest())
