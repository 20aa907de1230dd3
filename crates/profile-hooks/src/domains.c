// The functions that stand in CPython's tables of allocators (PyMemAllocatorEx) while a profile runs. hooks.c includes this
// file.
//
// pymalloc cuts small objects out of its arenas, which come from mmap, so no call of malloc shows them. These functions stand in
// front of the domains. They call the functions that were in the table, and a sampled block stays a block of the allocator
// beneath. So its address can be any, and whether a block may be a sampled one is told by a table of small counters.
//
// What the allocator beneath asks malloc for is the same block. It is not counted twice: meanwhile the thread's countdown is as
// far as it can be.

#include <stdatomic.h>

// CPython's structure (Include/cpython/pymem.h).
struct domain {
  void *ctx;
  void *(*malloc)(void *ctx, size_t size);
  void *(*calloc)(void *ctx, size_t count, size_t size);
  void *(*realloc)(void *ctx, void *block, size_t size);
  void (*free)(void *ctx, void *block);
};

// The same as `Sample` in crates/profile/src/live.rs.
struct sample {
  uint64_t size;
  uint32_t stack;
};

// The functions of crates/profile/src/python/domains.rs. The same as its `Functions`.
struct domain_functions {
  // A block that used up the thread's countdown. True if it is a sampled one now.
  bool (*sample)(struct thread *, void *block, size_t size, const struct caller *);
  // Forgets a block that may be a sampled one. True if the block was one.
  bool (*forget)(void *block, struct sample *);
  // Takes it back.
  void (*keep)(void *block, const struct sample *);
};
static struct domain_functions domains;

// How many sampled blocks there are with that number of their address. A counter that is full stays so.
#define MARKS 65536
#define FULL UINT8_MAX
static _Atomic uint8_t marks[MARKS];

static inline _Atomic uint8_t *mark_of(const void *block) {
  return &marks[((uintptr_t)block >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 48];
}
static inline bool is_marked(const void *block) {
  return !LIKELY(atomic_load_explicit(mark_of(block), memory_order_relaxed) == 0);
}

static void mark(void *block) {
  _Atomic uint8_t *const count = mark_of(block);
  uint8_t before = atomic_load_explicit(count, memory_order_relaxed);
  while (before != FULL && !atomic_compare_exchange_weak_explicit(count, &before, before + 1, memory_order_relaxed,
                                                                  memory_order_relaxed));
}
static void unmark(void *block) {
  _Atomic uint8_t *const count = mark_of(block);
  uint8_t before = atomic_load_explicit(count, memory_order_relaxed);
  while (before != FULL && before != 0 &&
         !atomic_compare_exchange_weak_explicit(count, &before, before - 1, memory_order_relaxed, memory_order_relaxed));
}

static bool forget_in_domain(void *block, struct sample *sample) {
  if (block == NULL || !domains.forget(block, sample)) return false;
  unmark(block);
  return true;
}

// Returns what the thread has left, and lets it allocate without being counted.
static inline uint64_t pause(void) {
  const uint64_t left = thread.left;
  thread.left = UINT64_MAX;
  return left;
}

static void sample_in_domain(void *block, size_t size, const struct caller *caller) {
  if (block == NULL) return;
  // Marked before it is in the table: whoever frees the block must find the mark.
  mark(block);
  if (!domains.sample(&thread, block, size, caller)) unmark(block);
}

static SLOW void *slow_domain_malloc(void *ctx, size_t size) {
  CALLER;
  const struct domain *const beneath = ctx;
  const uint64_t left = pause();
  void *const block = beneath->malloc(beneath->ctx, size);
  thread.left = left;
  sample_in_domain(block, size, &caller);
  return block;
}
static void *domain_malloc(void *ctx, size_t size) {
  if (!LIKELY(size < thread.left)) return slow_domain_malloc(ctx, size);
  const struct domain *const beneath = ctx;
  const uint64_t left = pause();
  void *const block = beneath->malloc(beneath->ctx, size);
  thread.left = left - size;
  return block;
}

static SLOW void *slow_domain_calloc(void *ctx, size_t count, size_t size) {
  CALLER;
  const struct domain *const beneath = ctx;
  const uint64_t left = pause();
  void *const block = beneath->calloc(beneath->ctx, count, size);
  thread.left = left;
  sample_in_domain(block, count * size, &caller);
  return block;
}
static void *domain_calloc(void *ctx, size_t count, size_t size) {
  const struct domain *const beneath = ctx;
  size_t all;
  if (__builtin_mul_overflow(count, size, &all)) return beneath->calloc(beneath->ctx, count, size);
  if (!LIKELY(all < thread.left)) return slow_domain_calloc(ctx, count, size);
  const uint64_t left = pause();
  void *const block = beneath->calloc(beneath->ctx, count, size);
  thread.left = left - all;
  return block;
}

// To resize a block is to free it and to allocate another one.
static SLOW void *slow_domain_realloc(void *ctx, void *old, size_t size) {
  CALLER;
  const struct domain *const beneath = ctx;
  struct sample sample;
  const bool was_sampled = forget_in_domain(old, &sample);
  const uint64_t left = pause();
  void *const block = beneath->realloc(beneath->ctx, old, size);
  thread.left = left;
  if (block == NULL) {
    if (was_sampled) {
      mark(old);
      domains.keep(old, &sample);
    }
  } else if (!is_unsampled(size)) {
    sample_in_domain(block, size, &caller);
  }
  return block;
}
static void *domain_realloc(void *ctx, void *old, size_t size) {
  if (!LIKELY(size < thread.left) || is_marked(old)) return slow_domain_realloc(ctx, old, size);
  const struct domain *const beneath = ctx;
  const uint64_t left = pause();
  void *const block = beneath->realloc(beneath->ctx, old, size);
  thread.left = left - size;
  return block;
}

static SLOW void slow_domain_free(void *ctx, void *block) {
  const struct domain *const beneath = ctx;
  struct sample sample;
  forget_in_domain(block, &sample);
  beneath->free(beneath->ctx, block);
}
static void domain_free(void *ctx, void *block) {
  if (is_marked(block)) return slow_domain_free(ctx, block);
  const struct domain *const beneath = ctx;
  beneath->free(beneath->ctx, block);
}

// The table of a domain; its context is what was in the table before.
static const struct domain in_front = {NULL, domain_malloc, domain_calloc, domain_realloc, domain_free};

const struct domain *domain_of(const struct domain_functions *functions) {
  domains = *functions;
  return &in_front;
}
