"""What the programs have in common: their turns, and the CPU time of each twentieth of them, for bench/python.ts."""

import atexit
import time


def turns(count):
    """The numbers below count."""
    ends, used = {count * slice // 20 - 1 for slice in range(1, 21)}, [time.process_time()]
    # The first slice is the start and what comes before the turns; the last the end of the program, but for Python's own.
    atexit.register(lambda: print("slices", *used, time.process_time()))
    for turn in range(count):
        yield turn
        if turn in ends:
            used.append(time.process_time())
