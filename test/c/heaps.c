// Programs whose memory is of a known kind, for test/diagnose.test.ts, crates/process/tests and bench/doctor.ts. Each says
// what glibc's own mallinfo2 counts, and waits until its standard input ends. `churn` works on meanwhile, and `watch` looks
// for the longest time in which it could not: for each line of its input it says that, and begins anew.

#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MIB (1ul << 20)

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/// Blocks of `least` to `most` bytes, `total` in all, written to.
static void **blocks_of(size_t total, size_t least, size_t most, size_t *count, uint64_t seed) {
  void **blocks = mmap(NULL, (total / least + 1) * sizeof *blocks, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  uint64_t state = seed;
  size_t bytes = 0;
  for (*count = 0; bytes < total; ++*count) {
    size_t size = least + next_random(&state) % (most - least + 1);
    memset(blocks[*count] = malloc(size), 1, size);
    bytes += size;
  }
  return blocks;
}

/// Frees all but each `keep`th block. With 0 it frees every one.
static void free_but(void **blocks, size_t count, size_t keep) {
  for (size_t i = 0; i < count; i++)
    if (keep == 0 || i % keep != 0) free(blocks[i]);
}

static size_t total;

/// A thread with an arena of its own, which ends when the program does.
static void *with_arena(void *seed) {
  size_t count;
  void **blocks = blocks_of(total / 4, 16, 2000, &count, (uintptr_t)seed + 1);
  free_but(blocks, count, 3);
  return NULL;
}

static atomic_uint at_the_bottom;

static void *recurse(void *depth) {
  volatile char frame[64 << 10];
  memset((void *)frame, 1, sizeof frame);
  if ((uintptr_t)depth > 1) recurse((void *)((uintptr_t)depth - 1));
  else {
    at_the_bottom++;
    pause();
  }
  return (void *)(uintptr_t)frame[0];
}

static atomic_bool is_over;

static void *churns(void *seed) {
  enum { SLOTS = 20000 };
  void **slots = calloc(SLOTS, sizeof *slots);
  uint64_t state = (uintptr_t)seed * 7919 + 1;
  while (!is_over) {
    void **slot = &slots[next_random(&state) % SLOTS];
    size_t size = next_random(&state) % 100 == 0 ? next_random(&state) % 200000 : next_random(&state) % 2000;
    free(*slot);
    if ((*slot = malloc(size + 1)) == NULL) abort();
    memset(*slot, 1, size + 1);
  }
  return slots;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

/// Looks at the clock without end, asks for memory meanwhile, in a mapping of its own too, and keeps the longest gap
/// between two looks in milliseconds.
static _Atomic double longest;
static void *watches(void *unused) {
  double last = now();
  while (!is_over) {
    free(malloc(1000));
    char *map = mmap(NULL, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *map = 1;
    munmap(map, 64 << 10);
    double time = now();
    if (time - last > longest) longest = time - last;
    last = time;
  }
  return unused;
}

static void in_threads(void *(*run)(void *), uintptr_t count, uintptr_t argument) {
  for (uintptr_t i = 0; i < count; i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, run, (void *)(argument ? argument : i));
  }
}

static void in_ended_threads(void *(*run)(void *), uintptr_t count) {
  pthread_t threads[64];
  for (uintptr_t i = 0; i < count; i++) pthread_create(&threads[i], NULL, run, (void *)i);
  for (uintptr_t i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
  const char *kind = argv[1];
  total = (argc > 2 ? strtoul(argv[2], NULL, 10) : 256) * MIB;
  size_t count = 0;
  if (!strcmp(kind, "small")) {
    void **blocks = blocks_of(total, 16, 1000, &count, 1);
    // The last one stays, so that the rest is not given back.
    free_but(blocks, count - 1, 0);
    // What is freed of this size has glibc put together what lies in its fastbins.
    free(malloc(100000));
  } else if (!strcmp(kind, "holes")) {
    // Of four blocks one stays in each page.
    void **blocks = blocks_of(total, 1000, 1000, &count, 1);
    free_but(blocks, count, 4);
  } else if (!strcmp(kind, "large")) {
    // From now on blocks of less than 24 MiB are not mapped for themselves.
    free(malloc(24 * MIB));
    void **blocks = blocks_of(total, 100000, 2000000, &count, 1);
    free_but(blocks, count, 2);
  } else if (!strcmp(kind, "mapped")) {
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    blocks_of(total, 1000000, 2000000, &count, 1);
  } else if (!strcmp(kind, "live")) {
    blocks_of(total, 16, 1000, &count, 1);
  } else if (!strcmp(kind, "threads")) {
    mallopt(M_ARENA_MAX, 64);
    in_ended_threads(with_arena, 4);
    free(malloc(100000));
  } else if (!strcmp(kind, "stacks")) {
    // Each of the frames has 64 KiB.
    in_threads(recurse, total / (4 * MIB), 4 * MIB / (64 << 10));
    while (at_the_bottom < total / (4 * MIB)) usleep(1000);
  } else if (!strcmp(kind, "file")) {
    int file = open(argv[3], O_RDONLY);
    volatile char *map = mmap(NULL, total, PROT_READ, MAP_SHARED, file, 0);
    for (size_t i = 0; i < total; i += 4096) (void)map[i];
  } else if (!strcmp(kind, "thp")) {
    char *map = aligned_alloc(2 * MIB, total);
    madvise(map, total, MADV_HUGEPAGE);
    for (size_t i = 0; i < total; i += 2 * MIB) map[i] = 1;
  } else if (!strcmp(kind, "anonymous")) {
    memset(mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, total);
  } else if (!strcmp(kind, "churn")) {
    in_threads(churns, 4, 0);
  } else if (!strcmp(kind, "watch")) {
    void **blocks = blocks_of(total, 16, 1000, &count, 1);
    free_but(blocks, count, 2);
    in_threads(watches, 1, 1);
  }
  struct mallinfo2 info = mallinfo2();
  printf("{\"free\":%zu,\"fastbins\":%zu,\"used\":%zu,\"mapped\":%zu}\n", info.fordblks, info.fsmblks, info.uordblks,
         info.hblkhd);
  fflush(stdout);
  for (int character; (character = getchar()) != EOF;)
    if (character == '\n') {
      printf("%.3f\n", (double)longest);
      fflush(stdout);
      longest = 0;
    }
  is_over = 1;
  return 0;
}
