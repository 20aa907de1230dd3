"""Large buffers: bytearrays of 64 KiB to 16 MiB that are made, grown, cut, joined and dropped."""

import random
import sys
import zlib

from slices import turns

random.seed(1)
kept = [bytearray() for _ in range(12)]
check = 0
for turn in turns(int(sys.argv[1])):
    size = int(2 ** random.uniform(16, 24))
    buffer = bytearray(size)
    buffer[turn % size] = turn % 256
    buffer += b"end" * 5000
    view = memoryview(buffer)
    joined = b"".join((view[: size // 4], view[size // 2 :]))
    check = zlib.crc32(joined[:4096], check)
    growing = bytearray()
    for _ in range(24):
        growing += joined[: 16 << 10]
    view.release()
    del buffer[: size // 8]
    kept[turn % len(kept)] = buffer
    check = zlib.crc32(growing[-64:], check)
print(check)
