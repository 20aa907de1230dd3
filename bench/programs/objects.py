"""Object churn: a store of records of many sizes, replaced one by one, then all but a hundredth dropped.

Objects over 512 bytes come from malloc; the smaller ones do so with PYTHONMALLOC=malloc alone."""

import os
import random
import re
import sys
import time

random.seed(1)
store = {}
for i in range(int(sys.argv[1]) if len(sys.argv) > 1 else 600_000):
    size = int(64 * 2 ** random.uniform(0, 8))
    store[random.randrange(40_000)] = (i, b"x" * size, [i] * (size >> 7), {"key": str(i)})
for key in [key for key in store if key % 100]:
    del store[key]
time.sleep(int(os.environ.get("BENCH_IDLE_MS", 2000)) / 1000)
with open("/proc/self/status") as status:
    print("idle rss", re.search(r"VmRSS:\s+(\d+)", status.read())[1])
