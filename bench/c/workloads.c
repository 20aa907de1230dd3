/* workloads NAME N: one allocation pattern, N steps of it. */
#include "workload.h"

/* Small churn: 1,000 live blocks of 16–256 bytes, one replaced at a time. */
static void churn(uint64_t n) {
  enum { LIVE = 1000 };
  static void *live[LIVE];
  while (n-- > 0) {
    unsigned slot = below(LIVE);
    size_t size = 16 + below(241);
    free(live[slot]);
    live[slot] = touch(malloc(size), size);
  }
}

/* Mixed sizes: 4,000 live blocks of 8 bytes to 64 KiB, small ones more often. */
static void mixed(uint64_t n) {
  enum { LIVE = 4000 };
  static void *live[LIVE];
  while (n-- > 0) {
    unsigned slot = below(LIVE);
    size_t size = 1 + below((uint32_t)8 << below(14));
    free(live[slot]);
    live[slot] = touch(malloc(size), size);
  }
}

/* Growing realloc: 64 strings appended to in steps, up to 64 KiB, as a reader of lines does. */
static void grow(uint64_t n) {
  enum { LIVE = 64 };
  static struct { char *bytes; size_t size; } live[LIVE];
  while (n-- > 0) {
    unsigned slot = below(LIVE);
    if (live[slot].size > 65536) {
      free(live[slot].bytes);
      live[slot].bytes = NULL;
      live[slot].size = 0;
    }
    live[slot].size += live[slot].size / 2 + 16 + below(64);
    live[slot].bytes = touch(realloc(live[slot].bytes, live[slot].size), live[slot].size);
  }
}

/* Zeroed and aligned blocks: calloc and aligned_alloc in turn, up to 4 KiB, 500 live. */
static void aligned(uint64_t n) {
  enum { LIVE = 500 };
  static void *live[LIVE];
  while (n-- > 0) {
    unsigned slot = below(LIVE);
    size_t alignment = (size_t)16 << below(5);
    size_t size = alignment * (1 + below(16));
    free(live[slot]);
    live[slot] = touch(n % 2 ? calloc(1, size) : aligned_alloc(alignment, size), size);
  }
}

/* Cross-thread free: one thread allocates, another frees. Batches, so that the queue's lock costs little. */
enum { BATCH = 256, DEPTH = 8 };
static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  void **batches[DEPTH];
  unsigned head, tail;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void put(void **batch) {
  pthread_mutex_lock(&queue.lock);
  while (queue.head - queue.tail == DEPTH) pthread_cond_wait(&queue.changed, &queue.lock);
  queue.batches[queue.head++ % DEPTH] = batch;
  pthread_cond_signal(&queue.changed);
  pthread_mutex_unlock(&queue.lock);
}

static void **take(void) {
  pthread_mutex_lock(&queue.lock);
  while (queue.head == queue.tail) pthread_cond_wait(&queue.changed, &queue.lock);
  void **batch = queue.batches[queue.tail++ % DEPTH];
  pthread_cond_signal(&queue.changed);
  pthread_mutex_unlock(&queue.lock);
  return batch;
}

static void *consume(void *unused) {
  (void)unused;
  for (void **batch; (batch = take()) != NULL;) {
    for (int i = 0; i < BATCH; i++) free(batch[i]);
    free(batch);
  }
  return NULL;
}

static void handover(uint64_t n) {
  pthread_t consumer;
  pthread_create(&consumer, NULL, consume, NULL);
  for (uint64_t done = 0; done < n; done += BATCH) {
    void **batch = must(malloc(BATCH * sizeof *batch));
    for (int i = 0; i < BATCH; i++) {
      size_t size = 16 + below(497);
      batch[i] = touch(malloc(size), size);
    }
    put(batch);
  }
  put(NULL);
  pthread_join(consumer, NULL);
}

/* Larson: threads replace blocks at random, and each leaves its live blocks to a successor and ends. */
struct shift {
  uint64_t seed, steps;
  void *live[1000];
};

static void *work(void *argument) {
  struct shift *shift = argument;
  generator = shift->seed;
  for (uint64_t i = 0; i < shift->steps; i++) {
    unsigned slot = below(1000);
    size_t size = 10 + below(491);
    free(shift->live[slot]);
    shift->live[slot] = touch(malloc(size), size);
  }
  shift->seed = generator;
  return NULL;
}

static void larson(uint64_t n) {
  enum { THREADS = 2, SHIFTS = 50 };
  static struct shift shifts[THREADS];
  for (int t = 0; t < THREADS; t++) shifts[t] = (struct shift){.seed = 17u + (unsigned)t, .steps = n / THREADS / SHIFTS};
  for (int s = 0; s < SHIFTS; s++) {
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++) pthread_create(&threads[t], NULL, work, &shifts[t]);
    for (int t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
  }
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*run)(uint64_t);
  } all[] = {{"churn", churn}, {"mixed", mixed},       {"grow", grow},
             {"aligned", aligned}, {"handover", handover}, {"larson", larson}};
  uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
  for (unsigned i = 0; argc > 1 && i < sizeof all / sizeof *all; i++) {
    if (strcmp(argv[1], all[i].name) == 0) {
      all[i].run(n);
      return 0;
    }
  }
  fprintf(stderr, "usage: %s churn|mixed|grow|aligned|handover|larson N\n", argv[0]);
  return 2;
}
