# Forked children of an interpreter in another process: child() is defined by the test.
import os
import sys
import tempfile
import threading


def status_of(pid):
    status = os.waitpid(pid, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


def in_fork():
    with tempfile.TemporaryFile() as stderr:
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.dup2(stderr.fileno(), 2)
            child()
            # To the end of the job, as it would be without the parent's part.
            return None
        status = status_of(pid)
        stderr.seek(0)
        return [status, stderr.read().decode()]


def in_thread():
    pids = []
    thread = threading.Thread(target=lambda: pids.append(os.fork()))
    thread.start()
    thread.join()
    return status_of(pids[0])
