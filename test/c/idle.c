/* A process in which the thread of idle release starts, or does not. It does what its arguments say, one after another:
 *
 *   take      takes 64 MiB in blocks of some kilobytes
 *   free      frees them, but for a few
 *   wait      waits for a moment
 *   handler   waits for a moment in a signal handler
 *   thread    makes a thread, which ends at once
 *   confine   gives up new privileges, as before a seccomp filter
 *   unshare   enters a user namespace, and prints whether that was done
 *   fork      forks, and goes on in the child
 *   forks     frees and takes blocks between forty forks, and in each child
 *   check     frees and takes blocks in four threads, and looks whether anybody else wrote to them
 *   count     prints how many threads there are
 *   idle      prints what signals the thread of that name blocks, and how many descriptors the process has
 *   settle    waits until the process has lost three quarters of what it had in memory at its largest */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 16 << 10, SIZE = 4 << 10, KEPT = 512 };
static char *blocks[BLOCKS];

static int count_in(const char *folder) {
  DIR *open = opendir(folder);
  int count = 0;
  if (open == NULL) abort();
  for (struct dirent *entry; (entry = readdir(open)) != NULL;) count += entry->d_name[0] != '.';
  closedir(open);
  return count;
}

static void take(void) {
  for (int i = 0; i < BLOCKS; i++)
    if ((blocks[i] = malloc(SIZE)) == NULL) abort();
    else memset(blocks[i], i, SIZE);
}

static void give_back(void) {
  for (int i = 0; i < BLOCKS; i++)
    if (i % KEPT != 0) free(blocks[i]);
}

static void on_signal(int signal) {
  (void)signal;
  usleep(1000);
}

static void *nothing(void *unused) { return unused; }

static void make_thread(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0) abort();
  while (count_in("/proc/self/task") > 2) sched_yield(); /* the kernel counts it a moment longer */
}

/* Each block begins and ends with a number of its own, and has it on each page. */
static void mark(size_t *block, size_t size, size_t number) {
  for (size_t at = 0; at < size / sizeof *block; at += 512) block[at] = number;
  block[size / sizeof *block - 1] = number;
}

static void look_at(const size_t *block, size_t size, size_t number) {
  for (size_t at = 0; at < size / sizeof *block; at += 512)
    if (block[at] != number) abort();
  if (block[size / sizeof *block - 1] != number) abort();
}

/* Bursts of work, and between them what looks like an idle process. */
static void *check(void *seed) {
  enum { LIVE = 512, ROUNDS = 40, CHANGES = 2000 };
  static _Thread_local struct { size_t *block, size, number; } live[LIVE];
  unsigned random = (unsigned)(size_t)seed;
  for (size_t round = 0; round < ROUNDS; round++) {
    for (size_t change = 0; change < CHANGES; change++) {
      random = random * 1103515245u + 12345u;
      size_t at = random >> 8 & (LIVE - 1);
      if (live[at].block != NULL) look_at(live[at].block, live[at].size, live[at].number), free(live[at].block);
      live[at].number = round * CHANGES + change + 1;
      live[at].size = ((size_t)64 << (random >> 20) % 12) + (random & 0xff0);
      live[at].block = malloc(live[at].size);
      if (live[at].block == NULL) abort();
      mark(live[at].block, live[at].size, live[at].number);
    }
    for (size_t at = round % 2; at < LIVE; at += 2)
      if (live[at].block != NULL) {
        look_at(live[at].block, live[at].size, live[at].number);
        free(live[at].block);
        live[at].block = NULL;
      }
    usleep(100000);
  }
  for (size_t at = 0; at < LIVE; at++)
    if (live[at].block != NULL) look_at(live[at].block, live[at].size, live[at].number), free(live[at].block);
  return NULL;
}

static void check_in_threads(void) {
  pthread_t threads[4];
  for (size_t n = 0; n < 4; n++)
    if (pthread_create(&threads[n], NULL, check, (void *)(n + 1)) != 0) abort();
  for (size_t n = 0; n < 4; n++) pthread_join(threads[n], NULL);
}

static void forks(void) {
  for (int n = 0; n < 40; n++) {
    pid_t pid = fork();
    if (pid == 0) {
      give_back();
      take();
      for (int i = 0; i < BLOCKS; i++)
        if (blocks[i][SIZE - 1] != (char)i) abort();
      _exit(0);
    }
    int status = 1;
    if (waitpid(pid, &status, 0) != pid || status != 0) abort();
    if (n % 4 == 0) give_back(), usleep(300000), take();
  }
}

static void show_idle(void) {
  DIR *tasks = opendir("/proc/self/task");
  char path[300], line[256];
  for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
    snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
    FILE *status = fopen(path, "r");
    int is_it = 0;
    while (status != NULL && fgets(line, sizeof line, status)) {
      is_it |= strcmp(line, "Name:\tmalloc-idle\n") == 0;
      if (is_it && strncmp(line, "SigBlk:", 7) == 0) printf("%s", line);
    }
    if (status != NULL) fclose(status);
  }
  closedir(tasks);
  printf("%d\n", count_in("/proc/self/fd") - 1);
}

static void settle(void) {
  struct rusage usage;
  long pages;
  do {
    /* Rarely: with several arenas a program that uses a thousandth of a processor is not idle, and each look costs some of it. */
    sleep(1);
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL || fscanf(statm, "%*d %ld", &pages) != 1) abort();
    fclose(statm);
    getrusage(RUSAGE_SELF, &usage);
  } while (pages * (getpagesize() / 1024) > usage.ru_maxrss / 4);
}

int main(int count, char **arguments) {
  for (int at = 1; at < count; at++) {
    const char *what = arguments[at];
    if (strcmp(what, "take") == 0) take();
    if (strcmp(what, "free") == 0) give_back();
    if (strcmp(what, "wait") == 0) usleep(1000);
    if (strcmp(what, "handler") == 0) signal(SIGUSR1, on_signal), raise(SIGUSR1);
    if (strcmp(what, "thread") == 0) make_thread();
    if (strcmp(what, "confine") == 0) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (strcmp(what, "unshare") == 0) printf("%d\n", unshare(CLONE_NEWUSER));
    if (strcmp(what, "count") == 0) printf("%d\n", count_in("/proc/self/task"));
    if (strcmp(what, "forks") == 0) forks();
    if (strcmp(what, "check") == 0) check_in_threads();
    if (strcmp(what, "idle") == 0) show_idle();
    if (strcmp(what, "settle") == 0) settle();
    if (strcmp(what, "fork") == 0) {
      fflush(stdout);
      pid_t pid = fork();
      int status = 1;
      if (pid != 0) return waitpid(pid, &status, 0) != pid || status != 0;
    }
  }
  return 0;
}
