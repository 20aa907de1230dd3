"""Regular expressions: a log is taken apart line by line, rewritten, and split into tokens."""

import random
import re
import sys

from slices import turns

random.seed(1)
lines = [
    f"2026-11-{random.randint(1, 30):02} {random.randint(0, 23):02}:{random.randint(0, 59):02} "
    f"[{random.choice(['info', 'warn', 'error'])}] user{random.randint(1, 9999)}@host{random.randint(1, 99)}.example "
    f"GET /a/{random.randint(0, 10**6)}?q={random.random():.6f} took {random.randint(1, 5000)} ms"
    for _ in range(4000)
]
line = re.compile(r"(\S+) (\d+):(\d+) \[(\w+)\] (?P<who>[\w.]+@[\w.]+) (\w+) (\S+) took (\d+) ms")
token = re.compile(r"\d+(?:\.\d+)?|\w+|[^\w\s]")
text = "\n".join(lines)
found = 0
for turn in turns(int(sys.argv[1])):
    rows = [match.groupdict() | {"all": match.groups()} for match in map(line.match, lines)]
    found += len({row["who"] for row in rows})
    found += len(token.findall(text))
    found += len(re.sub(r"user(\d+)", lambda match: f"<{int(match[1]) + turn}>", text))
    found += sum(map(len, re.split(r"[/?=\s]+", text)))
print(found)
