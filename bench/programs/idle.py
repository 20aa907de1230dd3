"""Takes 1 GiB in blocks that malloc serves, frees them, and does nothing until its input ends. Prints "freed <pid> <RSS at
the peak in KiB>". As `idle:application` it does so in a WSGI server's worker, for each request."""

import os
import sys


def rss():
    with open("/proc/self/status") as status:
        return next(line.split()[1] for line in status if line.startswith("VmRSS"))


def spike():
    # Blocks of up to 512 bytes would be pymalloc's.
    blocks = [b"\1" * (600 + i * 7919 % 8000) for i in range(228_000)]
    return "freed %d %s\n" % (os.getpid(), rss())


def application(_, start_response):
    answer = spike().encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


if __name__ == "__main__":
    print(spike(), end="", flush=True)
    sys.stdin.read()
