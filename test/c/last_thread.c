/* Frees so much that jemalloc has use for a thread, and leaves the main thread. The process ends with its last thread, and
 * what it wrote is flushed then. The argument says how the main thread ends, and what else there is.
 *
 *   exit      by pthread_exit
 *   thrd      by thrd_exit
 *   cancel    it is cancelled
 *   worker    by pthread_exit, while another thread has something to do yet
 *   fork      by pthread_exit in a child whose main thread is that which forked: not its parent's
 *   clone     by pthread_exit in a child for which no handler of fork(2) has run, and in its parent */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

static void spike(void) {
  char *volatile block = malloc(50 << 20);
  if (!block) abort();
  memset(block, 1, 50 << 20);
  free(block);
}

static pthread_barrier_t barrier;

static void *work(void *unused) {
  pthread_barrier_wait(&barrier);
  spike();
  puts("worked");
  return unused;
}

static void *fork_and_leave(void *unused) {
  pid_t pid = fork();
  if (pid == 0) {
    spike();
    puts("child");
    pthread_exit(NULL);
  }
  int status = 1;
  if (waitpid(pid, &status, 0) != pid || status != 0) abort();
  return unused;
}

int main(int count, char **arguments) {
  const char *how = count > 1 ? arguments[1] : "";
  pthread_t thread;
  spike();
  if (strcmp(how, "fork") == 0) {
    if (pthread_create(&thread, NULL, fork_and_leave, NULL) != 0 || pthread_join(thread, NULL) != 0) return 1;
  }
  if (strcmp(how, "clone") == 0) {
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) pthread_exit(NULL);
    int status = 1;
    if (waitpid((pid_t)pid, &status, 0) != pid || status != 0) abort();
  }
  puts("main");
  if (strcmp(how, "worker") == 0) {
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&thread, NULL, work, NULL) != 0 || pthread_detach(thread) != 0) return 1;
    pthread_barrier_wait(&barrier);
  }
  if (strcmp(how, "thrd") == 0) thrd_exit(0);
  if (strcmp(how, "cancel") == 0) {
    pthread_cancel(pthread_self());
    pthread_testcancel();
  }
  pthread_exit(NULL);
}
