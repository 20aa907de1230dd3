"""Strings: built piece by piece, joined, formatted, replaced, split, encoded."""

import io
import sys

from slices import turns

total = 0
for turn in turns(int(sys.argv[1])):
    pieces = [f"{number:>08x}-{number % 97}" for number in range(turn, turn + 12_000)]
    joined = ",".join(pieces)
    grown = ""
    for piece in pieces[:4000]:
        grown += piece
        grown += "\n" if len(grown) % 3 else "; "
    out = io.StringIO()
    for piece in pieces:
        out.write(piece.upper())
        out.write("\t")
    replaced = joined.replace("-", " → ").replace("0", "")
    parts = replaced.split(",")
    table = "\n".join("| {:<20} | {:>20} |".format(part, part[::-1]) for part in parts[::2])
    total += len(grown) + len(out.getvalue()) + len(table.encode()) + len(joined.encode("utf-16"))
    total += sum(part.strip().count("e") for part in parts)
print(total)
