/* Forks beside what makes libc and the allocator wait for each other. Usage: fork_locks stdio|signal FORKS
 *
 *   stdio    a thread reads lines, and takes memory under the lock of its stream; another one flushes all streams, and
 *            waits for that lock under the one of the list of streams; a fork takes that one, and the allocator's.
 *   signal   a process of one thread forks in the handler of a signal, which may have come in the middle of a malloc. The
 *            child returns from the handler and ends.
 *
 * Says "forks <count>" every hundred forks, and "done" at the end. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int over;

static void *read_lines(void *unused) {
  char text[8192];
  memset(text, 'x', sizeof text);
  FILE *lines = fmemopen(text, sizeof text, "r");
  if (!lines) abort();
  for (; !over; usleep(20), rewind(lines)) {
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, lines) > 0) {} /* one line, whose room grows and grows */
    free(line);
  }
  return unused;
}

static void *flush(void *unused) {
  for (; !over; usleep(50)) fflush(NULL);
  return unused;
}

static void told(const char *format, int count) {
  char line[64];
  int length = snprintf(line, sizeof line, format, count);
  if (write(STDOUT_FILENO, line, (size_t)length) != length) _exit(1);
}

static int fork_and_wait(void) {
  pid_t pid = fork();
  if (pid == 0) {
    free(malloc(1000));
    _exit(0);
  }
  int status = 1;
  return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int beside_streams(int forks) {
  pthread_t threads[6];
  for (int i = 0; i < 6; i++)
    if (pthread_create(&threads[i], NULL, i % 3 == 2 ? flush : read_lines, NULL) != 0) return 0;
  for (int i = 1; i <= forks; i++) {
    if (!fork_and_wait()) return 0;
    if (i % 100 == 0) told("forks %d\n", i);
  }
  over = 1;
  for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
  return 1;
}

static atomic_int handled;
static pid_t first;

static void handle(int signal) {
  (void)signal;
  pid_t pid = fork();
  if (pid == 0) return; /* into the middle of what was interrupted */
  int status = 1;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) _exit(3);
  handled++;
}

/* A child of the handler goes on in here, and ends after it has used the allocator some more. */
static void use(int rounds) {
  char *blocks[64] = {0};
  for (int i = 0; i < rounds; i++) {
    size_t size = (size_t)(i % 97) * 331 + (i % 31 == 0 ? 1 << 18 : 1);
    free(blocks[i % 64]);
    /* (Not all of it: the signal is to come while the allocator has its locks.) */
    memset(blocks[i % 64] = malloc(size), 1, size < 64 ? size : 64);
  }
  for (int i = 0; i < 64; i++) free(blocks[i]);
  if (getpid() != first) _exit(0);
}

static int in_handlers(int forks) {
  first = getpid();
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
  signal(SIGUSR1, SIG_IGN);
  pid_t sender = fork();
  if (sender == 0) {
    for (;;) {
      if (kill(first, SIGUSR1) != 0) _exit(0);
      usleep(200);
    }
  }
  sigaction(SIGUSR1, &action, NULL);
  for (int before = 0; handled < forks;) {
    use(2000);
    if (handled / 100 > before / 100) told("forks %d\n", before = handled);
    if (handled >= forks) over = 1;
  }
  kill(sender, SIGKILL);
  return 1;
}

int main(int count, char **arguments) {
  if (count < 3) return 2;
  int forks = atoi(arguments[2]);
  int works = strcmp(arguments[1], "stdio") == 0 ? beside_streams(forks) : in_handlers(forks);
  if (works) told("done %d\n", forks);
  _exit(!works);
}
