/* Random operations against a model that knows every live block: its size and what must stand in it. */
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOTS = 2048 };

/* Which sized free suits a block. */
enum origin { PLAIN, ALIGNED, OTHER };

static struct slot {
  char *block;
  size_t size, alignment; /* what was asked for */
  size_t filled;          /* bytes that carry the pattern */
  uint64_t tag;
  enum origin origin;
} slots[SLOTS];

static uint64_t state;
static size_t step, live;

static size_t below(size_t limit) { return (size_t)(next_random(&state) >> 16) % limit; }

/* Most blocks are small; a few are so large that every allocator maps them on their own. */
static size_t random_size(void) {
  size_t kind = below(10000);
  if (kind < 100) return 0;
  if (kind < 7000) return below(257);
  if (kind < 9600) return below(4097);
  if (kind < 9965) return below(65537);
  if (kind < 9998) return below(524289);
  return below((size_t)8 << 20);
}

static void verify(const struct slot *slot) {
  expect(holds(slot->block, slot->filled, slot->tag), "step %zu: a block of %zu was overwritten", step, slot->size);
  size_t usable = malloc_usable_size(slot->block);
  expect(usable >= slot->size, "step %zu: %zu bytes of %zu", step, usable, slot->size);
}

/* Writes what was asked for, or now and then all that the allocator says is there. */
static void stamp(struct slot *slot) {
  slot->tag = next_random(&state);
  slot->filled = below(16) ? slot->size : malloc_usable_size(slot->block);
  fill(slot->block, slot->filled, slot->tag);
}

static void allocate(struct slot *slot) {
  size_t size = random_size(), alignment = (size_t)8 << below(below(20) ? 6 : 14), page = (size_t)sysconf(_SC_PAGESIZE);
  void *block = NULL;
  size_t kind = below(12);
  slot->origin = kind < 7 ? PLAIN : kind == 7 ? ALIGNED : OTHER;
  slot->alignment = 16;
  switch (kind) {
  case 0: case 1: case 2: case 3: block = malloc(size); break;
  case 4: case 5: {
    size_t unit = 1 + below(16);
    block = calloc(size / unit, unit);
    size = size / unit * unit;
    for (size_t i = 0; block && i < size; i++) expect(((char *)block)[i] == 0, "step %zu: calloc is dirty", step);
    break;
  }
  case 6: block = below(2) ? realloc(NULL, size) : reallocarray(NULL, size, 1); break;
  case 7: block = aligned_alloc(slot->alignment = alignment, size); break;
  case 8: block = memalign(slot->alignment = alignment, size); break;
  case 9: case 10:
    if (posix_memalign(&block, slot->alignment = alignment, size) != 0) block = NULL;
    break;
  default: block = below(2) ? valloc(size) : pvalloc(size), slot->alignment = page;
  }
  expect(block != NULL, "step %zu: no block of %zu (kind %zu)", step, size, kind);
  expect((uintptr_t)block % (slot->alignment < 16 ? 16 : slot->alignment) == 0, "step %zu: kind %zu of %zu at %zu gave %p",
         step, kind, size, slot->alignment, block);
  slot->block = block, slot->size = size;
  live++;
  stamp(slot);
}

static void release(struct slot *slot) {
  verify(slot);
  errno = 4711;
  if (slot->origin == PLAIN && sized_free && below(4) == 0) sized_free(slot->block, slot->size);
  else if (slot->origin == ALIGNED && aligned_sized_free && below(2)) aligned_sized_free(slot->block, slot->alignment, slot->size);
  else free(slot->block);
  expect(errno == 4711, "step %zu: free set errno to %d", step, errno);
  slot->block = NULL;
  live--;
}

static void resize(struct slot *slot) {
  verify(slot);
  if (below(50) == 0) {
    size_t far = below(2) ? SIZE_MAX - below(100000) : PTRDIFF_MAX - below(100000);
    errno = 0;
    expect(realloc(slot->block, far) == NULL && errno == ENOMEM, "step %zu: realloc to %zu, errno %d", step, far, errno);
    verify(slot);
    return;
  }
  size_t size = below(4) ? random_size() : slot->size + below(64);
  void *block = below(4) ? realloc(slot->block, size) : reallocarray(slot->block, size, 1);
  expect(block != NULL, "step %zu: realloc of %zu to %zu gave NULL", step, slot->size, size);
  expect((uintptr_t)block % 16 == 0, "step %zu: realloc gave %p", step, block);
  expect(holds(block, size < slot->filled ? size : slot->filled, slot->tag), "step %zu: realloc of %zu to %zu lost bytes",
         step, slot->size, size);
  slot->block = block, slot->size = size, slot->origin = PLAIN;
  stamp(slot);
}

static void model(void) {
  const char *seed = getenv("CONTRACT_SEED");
  state = seed ? strtoull(seed, NULL, 0) : 0x5EED;
  size_t steps = repeated(1000000);
  printf("# model: seed %#llx, %zu operations\n", (unsigned long long)state, steps);
  for (step = 0; step < steps; step++) {
    struct slot *slot = &slots[below(SLOTS)];
    if (!slot->block) allocate(slot);
    else if (below(5) < 3) release(slot);
    else resize(slot);
    if (step % 100000 == 0)
      for (size_t i = 0; i < SLOTS; i++)
        if (slots[i].block) verify(&slots[i]);
  }
  for (size_t i = 0; i < SLOTS; i++)
    if (slots[i].block) release(&slots[i]);
  expect(live == 0, "%zu blocks were not freed", live);
}

const struct check model_checks[] = {{"model", model}, {NULL, NULL}};
