"""JSON: a document of records, written and read again, compact and indented."""

import json
import random
import sys

from slices import turns

random.seed(1)
words = ["".join(random.choices("abcdefghijklmnop", k=random.randint(3, 12))) for _ in range(500)]


def record(number):
    return {
        "id": number,
        "name": " ".join(random.choices(words, k=3)),
        "tags": random.choices(words, k=6),
        "position": {"lat": random.random() * 90, "lon": random.random() * 180},
        "history": [{"at": number * 7 + i, "what": random.choice(words), "ok": i % 3 == 0} for i in range(8)],
        "note": None if number % 5 else "ü" * 40,
    }


document = {"records": [record(number) for number in range(1200)]}
length = 0
for turn in turns(int(sys.argv[1])):
    text = json.dumps(document, indent=2 if turn % 3 == 0 else None, ensure_ascii=turn % 2 == 0)
    length += len(text)
    document = json.loads(text)
print(length)
