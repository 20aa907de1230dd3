# What the tests run under each Python, backend and set of domains: it prints the same everywhere.
import json
import multiprocessing
import operator
import os
import re
import sqlite3
import subprocess
import sys
import threading


def words(text):
    return re.findall(r'[a-z]+', text)


def documents():
    value = {'list': list(range(500)), 'nested': [{'key': 'v' * n} for n in range(100)], 'text': 'é' * 1000}
    for _ in range(20):
        value = json.loads(json.dumps(value))
    return sum(value['list']), len(json.dumps(value))


def threads():
    results = [None] * 4

    def work(index):
        # Sizes on both sides of the 512 bytes up to which pymalloc serves.
        kept = [bytes(size) for size in range(0, 4096, 16)]
        text = ''.join(chr(97 + n % 26) for n in range(20000))
        results[index] = len(kept) + len(words(text))

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results


def database():
    connection = sqlite3.connect(':memory:')
    connection.execute('create table t (n integer, s text)')
    connection.executemany('insert into t values (?, ?)', ((n, 'x' * (n % 100)) for n in range(2000)))
    answer = connection.execute('select count(*), sum(n), sum(length(s)) from t').fetchone()
    connection.close()
    return answer


def fork():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        kept = [bytearray(size) for size in range(0, 100000, 1000)]
        os.write(writer, str(sum(map(len, kept))).encode())
        os._exit(7)
    os.close(writer)
    answer = os.read(reader, 100).decode()
    os.close(reader)
    return answer, os.waitpid(child, 0)[1] >> 8


def processes(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.map(operator.neg, range(5))


def main():
    print('json', documents())
    print('re', len(words('the quick brown fox ' * 2000)))
    print('threads', threads())
    print('sqlite3', database())
    print('subprocess', subprocess.check_output([sys.executable, '-c', 'print(6 * 7)']).decode().strip())
    print('fork', fork())
    for method in ('fork', 'spawn'):
        print('multiprocessing', method, processes(method))
    big = bytearray(20_000_000)
    big.extend(b'x' * 20_000_000)
    print('big', len(big))
    sys.stdout.flush()


if __name__ == '__main__':
    main()
