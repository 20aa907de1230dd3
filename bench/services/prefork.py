"""A task queue like Celery's prefork pool: each request is a job for one of four forked workers, which reads a large JSON."""

import itertools
import json
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor

from served import serve


def work(text: str) -> int:
    words: dict[str, int] = {}
    for row in json.loads(text):
        for word in re.findall(r"\w+", row["text"]):
            words[word] = words.get(word, 0) + 1
    return len(json.dumps(sorted(words.items())))


rows = [[{"id": i, "text": f"job {n} row {i} " * 60} for i in range(8000)] for n in range(4)]
jobs = itertools.cycle([json.dumps(each) for each in rows])
del rows
pool = ProcessPoolExecutor(4, multiprocessing.get_context("fork"))


def report() -> str:
    return str(pool.submit(work, next(jobs)).result())


serve(report)
