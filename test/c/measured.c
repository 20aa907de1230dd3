/* A program whose memory and CPU time are known, and that says on stdout what it knows of itself:
 *   peak MIB           touches so much and gives half of it back
 *   work MS            works so long
 *   threads N MS       on each of N threads
 *   fork N MS          in each of N children, for which it waits
 *   ignore N MS        likewise, but the kernel forgets the children (SIGCHLD is ignored)
 *   daemon MS          in a daemon: two forks and a session of its own; the program waits for the end of the daemon
 *   hold MIB           touches so much; gives it back at the first line from stdin, and ends with the last
 *   outlive MIB        likewise, in a thread that outlives the first one
 *   hop                is replaced by its child, which has a session of its own, again and again
 *   sleep              sleeps in a daemon that ignores SIGTERM, and in itself
 * `… then COMMAND` becomes that command in the end. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds_on(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* On the processor, not by the wall: as long on a loaded machine as on an idle one. */
static void *work(void *milliseconds) {
  double end = seconds_on(CLOCK_THREAD_CPUTIME_ID) + *(double *)milliseconds / 1000;
  while (seconds_on(CLOCK_THREAD_CPUTIME_ID) < end)
    ;
  return NULL;
}

static double used(int who) {
  struct rusage usage;
  getrusage(who, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static char *touched(size_t size) {
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) exit(9);
  memset(memory, 1, size);
  return memory;
}

static long high_water_mark(void) {
  char line[256];
  long kib = 0;
  FILE *status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status)) sscanf(line, "VmHWM: %ld", &kib);
  if (status) fclose(status);
  return kib * 1024;
}

static void say(double cpu) {
  printf("{\"pid\":%d,\"cpu\":%.6f,\"peak\":%ld}\n", getpid(), cpu, high_water_mark());
  fflush(stdout);
}

static void *hold(void *mebibytes) {
  size_t size = (size_t) * (double *)mebibytes << 20;
  char *memory = touched(size), line[16];
  say(used(RUSAGE_SELF));
  if (fgets(line, sizeof line, stdin)) munmap(memory, size);
  while (fgets(line, sizeof line, stdin))
    ;
  return NULL;
}

static void in_children(int count, double milliseconds) {
  for (int i = 0; i < count; i++) {
    if (fork() == 0) {
      work(&milliseconds);
      _exit(0);
    }
  }
  while (wait(NULL) > 0)
    ;
}

/* What the daemon has used. */
static double in_daemon(double milliseconds) {
  int ends[2];
  double cpu = 0;
  if (pipe(ends) != 0) exit(9);
  pid_t child = fork();
  if (child == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    work(&milliseconds);
    cpu = used(RUSAGE_SELF);
    _exit(write(ends[1], &cpu, sizeof cpu) != sizeof cpu);
  }
  waitpid(child, NULL, 0);
  close(ends[1]);
  if (read(ends[0], &cpu, sizeof cpu) != sizeof cpu) exit(9);
  return cpu;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  double first = argc > 2 ? atof(argv[2]) : 0, second = argc > 3 ? atof(argv[3]) : 0;
  if (strcmp(what, "peak") == 0) {
    size_t size = (size_t)first << 20;
    munmap(touched(size), size / 2);
    say(used(RUSAGE_SELF));
  } else if (strcmp(what, "work") == 0) {
    work(&first);
    say(used(RUSAGE_SELF));
  } else if (strcmp(what, "threads") == 0) {
    pthread_t threads[64];
    for (int i = 0; i < (int)first; i++) pthread_create(&threads[i], NULL, work, &second);
    for (int i = 0; i < (int)first; i++) pthread_join(threads[i], NULL);
    say(used(RUSAGE_SELF));
  } else if (strcmp(what, "fork") == 0) {
    in_children((int)first, second);
    say(used(RUSAGE_SELF) + used(RUSAGE_CHILDREN));
  } else if (strcmp(what, "ignore") == 0) {
    signal(SIGCHLD, SIG_IGN);
    in_children((int)first, second);
    /* Nobody can tell what the children have used: it is known. */
    say(used(RUSAGE_SELF) + first * second / 1000);
  } else if (strcmp(what, "daemon") == 0) {
    double cpu = in_daemon(first);
    say(used(RUSAGE_SELF) + used(RUSAGE_CHILDREN) + cpu);
  } else if (strcmp(what, "hold") == 0) {
    hold(&first);
  } else if (strcmp(what, "outlive") == 0) {
    static double mebibytes;
    pthread_t thread;
    mebibytes = first;
    pthread_create(&thread, NULL, hold, &mebibytes);
    pthread_exit(NULL);
  } else if (strcmp(what, "hop") == 0) {
    say(0);
    for (;;) {
      if (fork() > 0) _exit(0);
      setsid();
    }
  } else if (strcmp(what, "sleep") == 0) {
    if (fork() == 0) {
      setsid();
      if (fork() != 0) _exit(0);
      signal(SIGTERM, SIG_IGN);
      signal(SIGINT, SIG_IGN);
      say(0);
      for (;;) pause();
    }
    wait(NULL);
    say(0);
    for (;;) pause();
  }
  for (int i = 1; i + 1 < argc; i++) {
    if (strcmp(argv[i], "then") == 0) execvp(argv[i + 1], argv + i + 1);
  }
  return 0;
}
