/* A spike of memory, freed, in a process that is what the argument says. Prints "freed <pid> <RSS at the peak in KiB>", then
 * lives until standard input ends.
 *
 *   first     the process that was started
 *   child     a forked child
 *   inherited a forked child, which frees what its parent took
 *   daemon    a child's child, in a session of its own
 *   thread    a child of a process that forks in another thread
 *   threads   a forked child that takes and frees in a thread of its own
 *
 * With `huge` it takes and frees a block of 12 MiB two hundred times, and prints "faults <count>". */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 20000, MEGABYTES = 200 };
static char *blocks[BLOCKS];

static void take(void) {
  for (size_t i = 0; i < BLOCKS; i++) {
    /* From what fits into a page to some hundred kilobytes; the last few are what the arena of huge blocks is for. */
    size_t size = i >= BLOCKS - 4 ? 12 << 20 : i % 100 == 0 ? 400 << 10 : 3500 + i % 5000;
    memset(blocks[i] = malloc(size), 1, size);
  }
}

static long rss(void) {
  char line[256];
  long kib = 0;
  FILE *status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %ld", &kib);
  if (status) fclose(status);
  return kib;
}

static void *give_back(void *unused) {
  long peak = rss();
  for (size_t i = 0; i < BLOCKS; i++) free(blocks[i]);
  printf("freed %d %ld\n", (int)getpid(), peak);
  fflush(stdout);
  return unused;
}

static void *spike(void *unused) {
  take();
  return give_back(unused);
}

static void wait_for_the_end(void) {
  for (char end; read(STDIN_FILENO, &end, 1) > 0;) {}
}

_Noreturn static void child(const char *how) {
  if (strcmp(how, "daemon") == 0) {
    setsid();
    pid_t pid = fork();
    if (pid != 0) _exit(pid < 0);
  }
  pthread_t thread;
  if (strcmp(how, "inherited") == 0) give_back(NULL);
  else if (strcmp(how, "threads") != 0) spike(NULL);
  else if (pthread_create(&thread, NULL, spike, NULL) != 0 || pthread_join(thread, NULL) != 0) _exit(1);
  wait_for_the_end();
  _exit(0);
}

static void *parent(void *how) {
  if (strcmp(how, "inherited") == 0) take();
  pid_t pid = fork();
  if (pid == 0) child(how);
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) exit(1);
  return NULL;
}

static int huge(void) {
  for (int i = 0; i < 200; i++) {
    char *block = malloc(12 << 20);
    if (!block) return 1;
    memset(block, i, 12 << 20);
    free(block);
  }
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  printf("faults %ld\n", usage.ru_minflt);
  return 0;
}

int main(int count, char **arguments) {
  char *how = count > 1 ? arguments[1] : "";
  if (strcmp(how, "huge") == 0) return huge();
  pthread_t thread;
  if (strcmp(how, "first") == 0) spike(NULL);
  else if (strcmp(how, "thread") != 0) parent(how);
  else if (pthread_create(&thread, NULL, parent, how) != 0 || pthread_join(thread, NULL) != 0) return 1;
  wait_for_the_end();
  return 0;
}
