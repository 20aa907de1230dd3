# Four threads that allocate, and forks whose children allocate: forks.py <count>
import os
import sys
import threading

stop = False


def churn():
    while not stop:
        kept = [bytes(size) for size in range(0, 3000, 50)]
        kept.clear()


workers = [threading.Thread(target=churn, daemon=True) for _ in range(4)]
for worker in workers:
    worker.start()
failed = 0
for _ in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        kept = [bytearray(size) for size in (10, 600, 5000, 100_000)]
        os._exit(len(kept))
    failed += os.waitpid(child, 0)[1] >> 8 != 4
stop = True
print('failed', failed)
