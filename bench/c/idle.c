/* idle [stall]: eight threads take 1 GiB in blocks of 16 to 4,096 bytes and free them, in random order. Prints "freed <pid> <RSS
 * at the peak in KiB>", and does nothing until standard input ends. The threads live on.
 *
 * With `stall` another thread frees and takes a block of 2 to 64 KiB twice a millisecond from then on, for three seconds, and
 * "stall <milliseconds>" is printed: the longest of these. So large a block is in no thread's cache. */
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>

#include "workload.h"

enum { THREADS = 8, SECONDS = 3, LIVE = 64 };
static const size_t BYTES = (size_t)1 << 30;
static pthread_barrier_t barrier;

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static long rss(void) {
  long pages = 0;
  FILE *statm = fopen("/proc/self/statm", "r");
  if (statm == NULL || fscanf(statm, "%*d %ld", &pages) != 1) abort();
  fclose(statm);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void *spike(void *seed) {
  generator += (uint64_t)(uintptr_t)seed;
  size_t count = 0, room = 1 << 16, left = BYTES / THREADS;
  char **blocks = must(malloc(room * sizeof *blocks));
  while (left > 0) {
    size_t size = 16 + below(4081);
    if (count == room) blocks = must(realloc(blocks, (room *= 2) * sizeof *blocks));
    memset(blocks[count++] = must(malloc(size)), 1, size);
    left -= size < left ? size : left;
  }
  pthread_barrier_wait(&barrier); /* All have what they want. */
  pthread_barrier_wait(&barrier); /* The peak is read. */
  for (size_t n = count; n > 0; n--) {
    size_t other = below((uint32_t)n);
    free(blocks[other]);
    blocks[other] = blocks[n - 1];
  }
  free(blocks);
  pthread_barrier_wait(&barrier);
  pause();
  return NULL;
}

static double longest(void) {
  static char *live[LIVE];
  double worst = 0, end = milliseconds() + SECONDS * 1e3;
  for (double before = milliseconds(); before < end; before = milliseconds()) {
    char **block = &live[below(LIVE)];
    free(*block);
    touch(*block = malloc(2048 + below(62 << 10)), 1);
    double took = milliseconds() - before;
    worst = took > worst ? took : worst;
    usleep(500);
  }
  return worst;
}

int main(int count, char **arguments) {
  pthread_t thread;
  pthread_barrier_init(&barrier, NULL, THREADS + 1);
  for (uintptr_t n = 1; n <= THREADS; n++)
    if (pthread_create(&thread, NULL, spike, (void *)n) != 0) abort();
  pthread_barrier_wait(&barrier);
  long peak = rss();
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  printf("freed %d %ld\n", (int)getpid(), peak);
  fflush(stdout);
  if (count > 1 && strcmp(arguments[1], "stall") == 0) printf("stall %.3f\n", longest());
  fflush(stdout);
  for (char end; read(STDIN_FILENO, &end, 1) > 0;) {}
  return 0;
}
