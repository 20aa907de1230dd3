"""A task queue like Celery's prefork pool: four forked workers take JSON jobs from a queue; it ends by itself."""

import json
import multiprocessing
import re


def work(text: str) -> int:
    document = json.loads(text)
    words: dict[str, int] = {}
    for row in document:
        for word in re.findall(r"\w+", row["text"]):
            words[word] = words.get(word, 0) + 1
    return len(json.dumps(sorted(words.items())))


def main() -> None:
    jobs = [json.dumps([{"id": i, "text": f"job {n} row {i} " * 20} for i in range(1500)]) for n in range(12)]
    context = multiprocessing.get_context("fork")
    with context.Pool(4, maxtasksperchild=20) as pool:
        print(sum(pool.imap_unordered(work, jobs * 12)))


if __name__ == "__main__":
    main()
