/* Blocks that move between threads, and threads that come and go. */
#define _GNU_SOURCE
#include "check.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, BOXES = 512, LEGACY = 10000 };

struct parcel {
  size_t size;
  uint64_t tag;
};

static _Atomic(struct parcel *) boxes[BOXES];
static _Atomic(const char *) trouble;

static struct parcel *pack(size_t size, uint64_t tag) {
  struct parcel *parcel = malloc(sizeof *parcel + size);
  if (!parcel) {
    trouble = "malloc gave NULL";
    return NULL;
  }
  *parcel = (struct parcel){size, tag};
  fill(parcel + 1, size, tag);
  return parcel;
}

static void unpack(struct parcel *parcel) {
  if (!parcel) return;
  if (!holds(parcel + 1, parcel->size, parcel->tag)) trouble = "a block of another thread was overwritten";
  free(parcel);
}

/* Each block goes into any box; what lay there, by whichever thread, is checked and freed or resized. */
static void *swap(void *seed) {
  uint64_t state = (uintptr_t)seed * 0x9E3779B97F4A7C15ull;
  size_t swaps = repeated(200000);
  for (size_t i = 0; i < swaps && !trouble; i++) {
    uint64_t random = next_random(&state);
    size_t size = random % 64 == 0 ? random >> 8 & 0x3FFFF : random >> 8 & 0x3FF;
    struct parcel *found = atomic_exchange(&boxes[random >> 40 & (BOXES - 1)], pack(size, random));
    if (found && random % 8 == 1) {
      size_t old = found->size, new = size / 2;
      found = realloc(found, sizeof *found + new);
      if (!found) return NULL;
      if (!holds(found + 1, old < new ? old : new, found->tag)) trouble = "realloc of another thread's block lost bytes";
      found->size = old < new ? old : new;
    }
    unpack(found);
  }
  return NULL;
}

static void foreign_free(void) {
  pthread_t threads[THREADS];
  trouble = NULL;
  for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, swap, (void *)(i + 1));
  for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (size_t i = 0; i < BOXES; i++) unpack(atomic_exchange(&boxes[i], NULL));
  expect(!trouble, "%s", trouble);
}

static struct parcel *legacy[LEGACY];

static void *leave(void *unused) {
  uint64_t state = 99;
  for (size_t i = 0; i < LEGACY; i++) legacy[i] = pack(next_random(&state) >> 8 & (i % 100 ? 0x1FF : 0xFFFF), i);
  return unused;
}

static void *inherit(void *unused) {
  for (size_t i = 0; i < LEGACY; i += 2) unpack(legacy[i]), legacy[i] = NULL;
  return unused;
}

/* The blocks outlive the thread that allocated them; another thread frees the half, the main one the rest. */
static void ended_threads(void) {
  for (size_t round = 0, rounds = repeated(20); round < rounds; round++) {
    pthread_t thread;
    trouble = NULL;
    pthread_create(&thread, NULL, leave, NULL);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, inherit, NULL);
    pthread_join(thread, NULL);
    for (size_t i = 1; i < LEGACY; i += 2) unpack(legacy[i]);
    expect(!trouble, "%s", trouble);
  }
}

static void *short_life(void *seed) {
  struct parcel *parcels[64];
  for (uintptr_t i = 0; i < 64; i++) parcels[i] = pack(i * 37 * (uintptr_t)seed % 9000, i);
  for (uintptr_t i = 0; i < 64; i++) unpack(parcels[i * 29 % 64]);
  return NULL;
}

/* One after the other, then in crowds. (A mimalloc crashed in the second of them: microsoft/mimalloc#1287.) */
static void short_threads(void) {
  trouble = NULL;
  for (size_t i = 1, lives = repeated(1000); i <= lives; i++) {
    pthread_t thread;
    expect(pthread_create(&thread, NULL, short_life, (void *)i) == 0, "pthread_create %zu", i);
    pthread_join(thread, NULL);
  }
  for (size_t i = 1, crowds = repeated(50); i <= crowds; i++) {
    pthread_t crowd[16];
    for (size_t j = 0; j < 16; j++)
      expect(pthread_create(&crowd[j], NULL, short_life, (void *)(i + j)) == 0, "pthread_create");
    for (size_t j = 0; j < 16; j++) pthread_join(crowd[j], NULL);
  }
  expect(!trouble, "%s", trouble);
}

static pthread_key_t farewell;
static atomic_int farewells;

/* Runs after the allocator's own destructor: its key is older. Allocates all the same, and asks to be run again. */
static void say_farewell(void *parcel) {
  unpack(parcel);
  struct parcel *parcels[32];
  for (size_t i = 0; i < 32; i++) parcels[i] = pack(i * 100, i);
  for (size_t i = 0; i < 32; i++) unpack(parcels[i]);
  if (atomic_fetch_add(&farewells, 1) % 4 != 3) pthread_setspecific(farewell, pack(300, 7));
}

static void *with_farewell(void *unused) {
  pthread_setspecific(farewell, pack(200, 8));
  return unused;
}

static void thread_exit(void) {
  trouble = NULL;
  expect(pthread_key_create(&farewell, say_farewell) == 0, "pthread_key_create");
  for (size_t i = 0; i < 500; i++) {
    pthread_t thread;
    expect(pthread_create(&thread, NULL, with_farewell, NULL) == 0, "pthread_create");
    pthread_join(thread, NULL);
  }
  pthread_key_delete(farewell);
  expect(farewells == 2000, "%d of 2000 destructors ran", farewells);
  expect(!trouble, "%s", trouble);
}

const struct check thread_checks[] = {{"foreign-free", foreign_free},
                                      {"ended-threads", ended_threads},
                                      {"short-threads", short_threads},
                                      {"thread-exit", thread_exit},
                                      {NULL, NULL}};
