// Four threads replace blocks of random sizes for a while, and keep a twentieth of them: what stays depends on the
// allocator, and a little on chance. Argument 1: steps of each thread.
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, BLOCKS = 4000 };
static long steps;

static void *work(void *number) {
  uint64_t random = (uint64_t)getpid() * 2654435761u + (uint64_t)(uintptr_t)number;
  void **blocks = calloc(BLOCKS, sizeof *blocks);
  for (long step = 0; step < steps; step++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    size_t at = (random >> 33) % BLOCKS, size = 64u << ((random >> 20) % 9);
    if (step % 20 != 0)
      free(blocks[at]);
    blocks[at] = malloc(size);
    memset(blocks[at], 1, size);
  }
  return blocks;
}

int main(int count, char **words) {
  steps = count > 1 ? atol(words[1]) : 20000;
  pthread_t threads[THREADS];
  for (uintptr_t at = 0; at < THREADS; at++)
    pthread_create(&threads[at], NULL, work, (void *)at);
  for (int at = 0; at < THREADS; at++)
    pthread_join(threads[at], NULL);
  return 0;
}
