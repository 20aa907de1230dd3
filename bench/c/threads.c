// Eight threads, one after the other, take blocks of random sizes and free nearly all of them; all threads live to the end.
// The peak depends on the allocator, which may give each thread an arena, and a little on chance. Argument 1: the blocks of
// a thread.
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 8 };
static long count;
static pthread_barrier_t end;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void *work(void *number) {
  uint64_t random = (uint64_t)getpid() * 2654435761u + (uint64_t)(uintptr_t)number;
  pthread_mutex_lock(&turn);
  void **blocks = calloc(count, sizeof *blocks);
  for (long at = 0; at < count; at++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    size_t size = 64u << ((random >> 20) % 9);
    blocks[at] = malloc(size);
    memset(blocks[at], 1, size);
  }
  for (long at = 0; at < count; at++)
    if (at % 1000 != 0)
      free(blocks[at]);
  pthread_mutex_unlock(&turn);
  pthread_barrier_wait(&end);
  return blocks;
}

int main(int words, char **word) {
  count = words > 1 ? atol(word[1]) : 8000;
  pthread_t threads[THREADS];
  pthread_barrier_init(&end, NULL, THREADS);
  for (uintptr_t at = 0; at < THREADS; at++)
    pthread_create(&threads[at], NULL, work, (void *)at);
  for (int at = 0; at < THREADS; at++)
    pthread_join(threads[at], NULL);
  return 0;
}
