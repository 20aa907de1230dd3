/* What each function of the family promises, one thread. */
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Small, slab-sized, large and mapped on their own, for every allocator here. */
static const size_t SIZES[] = {1,     2,     7,      8,      9,       15,      16,      17,       24,      31,
                               32,    33,    48,     63,     64,      65,      100,     127,      128,     200,
                               256,   500,   512,    1000,   1024,    1025,    2000,    4095,     4096,    4097,
                               8192,  10000, 16384,  20000,  32768,   32769,   65536,   100000,   131072,  262144,
                               300001, 524288, 1048576, 1048577, 2097152, 4194304, 5000000, 16777216, 33554433, 67108864};

/* No machine has these: 2^47 bytes is all that user space addresses on x86-64, and arm64 has 2^48. */
static const size_t HUGE[] = {(size_t)1 << 48,       (size_t)1 << 52,        (size_t)1 << 62,     PTRDIFF_MAX - 4096,
                              (size_t)PTRDIFF_MAX,   (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 65536,    SIZE_MAX - 4096,
                              SIZE_MAX - 64,         SIZE_MAX - 15,          SIZE_MAX - 1,        SIZE_MAX};

static int aligned_to(const void *block, size_t alignment) { return ((uintptr_t)block & (alignment - 1)) == 0; }

static void all_distinct(void **blocks, size_t count, const char *what) {
  for (size_t i = 0; i < count; i++) {
    expect(blocks[i] != NULL, "%s gave NULL", what);
    for (size_t j = 0; j < i; j++) expect(blocks[i] != blocks[j], "%s gave one block twice", what);
  }
  for (size_t i = 0; i < count; i++) free(blocks[i]);
}

static void zero_sizes(void) {
  void *blocks[600];
  for (size_t i = 0; i < COUNT(blocks); i++) blocks[i] = malloc(opaque(0));
  all_distinct(blocks, COUNT(blocks), "malloc(0)");
  for (size_t i = 0; i < COUNT(blocks); i++) blocks[i] = i % 2 ? calloc(opaque(0), 8) : calloc(8, opaque(0));
  all_distinct(blocks, COUNT(blocks), "calloc of nothing");
  for (size_t i = 0; i < COUNT(blocks); i++)
    blocks[i] = i % 2 ? realloc(NULL, opaque(0)) : reallocarray(NULL, opaque(0), 8);
  all_distinct(blocks, COUNT(blocks), "realloc(NULL, 0)");
  for (size_t i = 0; i < COUNT(blocks); i++) {
    blocks[i] = NULL;
    if (i % 3 == 0) blocks[i] = aligned_alloc(64, opaque(0));
    if (i % 3 == 1) blocks[i] = memalign(256, opaque(0));
    if (i % 3 == 2) expect(posix_memalign(&blocks[i], 32, opaque(0)) == 0, "posix_memalign(…, 0) failed");
  }
  all_distinct(blocks, COUNT(blocks), "an aligned block of nothing");
}

static void alignment_16(void) {
  for (size_t size = 1; size <= 2048; size++) {
    void *a = malloc(size), *b = calloc(1, size), *c = realloc(NULL, size), *d = aligned_alloc(opaque(1), size);
    expect(aligned_to(a, 16), "malloc(%zu) gave %p", size, a);
    expect(aligned_to(b, 16), "calloc(1, %zu) gave %p", size, b);
    expect(aligned_to(c, 16), "realloc(NULL, %zu) gave %p", size, c);
    expect(d && aligned_to(d, 16), "aligned_alloc(1, %zu) gave %p", size, d);
    c = realloc(c, size * 3 + 1);
    expect(aligned_to(c, 16), "realloc(…, %zu) gave %p", size * 3 + 1, c);
    free(a), free(b), free(c), free(d);
  }
}

/* Of a large block one word on each page will do, and the last one. */
static size_t last_word(size_t size) { return (size - 8) % 4096 < 8 ? 0 : size - 8; }

static void mark(char *block, size_t size, uint64_t tag) {
  if (size <= 1048577) {
    fill(block, size, tag);
    return;
  }
  for (size_t place = 0; place + 8 <= size; place += 4096) fill(block + place, 8, tag + place);
  if (last_word(size)) fill(block + last_word(size), 8, tag);
}

static int marked(const char *block, size_t size, size_t kept, uint64_t tag) {
  if (size <= 1048577) return holds(block, kept, tag);
  for (size_t place = 0; place + 8 <= kept; place += 4096)
    if (!holds(block + place, 8, tag + place)) return 0;
  return kept < size || !last_word(size) || holds(block + last_word(size), 8, tag);
}

static void usable_size(void) {
  expect(malloc_usable_size(NULL) == 0, "of NULL is not 0");
  /* All at once, each written to its end: one that promises too much overwrites another, or its own bookkeeping. */
  void *blocks[COUNT(SIZES)][3];
  size_t usable[COUNT(SIZES)][3];
  for (size_t i = 0; i < COUNT(SIZES); i++)
    for (size_t j = 0; j < 3; j++) {
      void *block = malloc(SIZES[i]);
      expect(block != NULL, "malloc(%zu) gave NULL", SIZES[i]);
      usable[i][j] = malloc_usable_size(block);
      expect(usable[i][j] >= SIZES[i], "%zu bytes of %zu", usable[i][j], SIZES[i]);
      mark(block, usable[i][j], i * 3 + j);
      blocks[i][j] = block;
    }
  for (size_t i = 0; i < COUNT(SIZES); i++)
    for (size_t j = 0; j < 3; j++) {
      expect(marked(blocks[i][j], usable[i][j], usable[i][j], i * 3 + j), "a block of %zu was overwritten", SIZES[i]);
      expect(malloc_usable_size(blocks[i][j]) == usable[i][j], "of %zu changed", SIZES[i]);
      free(blocks[i][j]);
    }
}

static void calloc_zeroes(void) {
  for (size_t i = 0; i < COUNT(SIZES) && SIZES[i] <= 4194304; i++) {
    char *dirty[8];
    for (size_t j = 0; j < 8; j++) memset(dirty[j] = malloc(SIZES[i]), 0xA5, SIZES[i]);
    for (size_t j = 0; j < 8; j++) free(dirty[j]);
    for (size_t j = 0; j < 8; j++) {
      char *block = dirty[j] = j % 2 ? calloc(1, SIZES[i]) : calloc(SIZES[i], 1);
      for (size_t k = 0; k < SIZES[i]; k++) expect(block[k] == 0, "byte %zu of %zu", k, SIZES[i]);
    }
    for (size_t j = 0; j < 8; j++) free(dirty[j]);
  }
}

/* Products that wrap to 0, to little and to much. */
static const size_t OVERFLOWS[][2] = {{SIZE_MAX, 2},           {2, SIZE_MAX},          {SIZE_MAX, SIZE_MAX},
                                      {SIZE_MAX / 2 + 1, 2},   {SIZE_MAX / 16 + 2, 16}, {16, SIZE_MAX / 16 + 2},
                                      {(size_t)1 << 32, (size_t)1 << 32}, {((size_t)1 << 32) + 1, ((size_t)1 << 32) - 1},
                                      {SIZE_MAX / 3 + 2, 3},   {SIZE_MAX / 100 + 1, 100}};

static void calloc_overflow(void) {
  for (size_t i = 0; i < COUNT(OVERFLOWS); i++) {
    errno = 0;
    void *block = calloc(opaque(OVERFLOWS[i][0]), opaque(OVERFLOWS[i][1]));
    expect(block == NULL, "calloc(%#zx, %#zx) gave a block", OVERFLOWS[i][0], OVERFLOWS[i][1]);
    expect(errno == ENOMEM, "errno is %d", errno);
  }
}

static void reallocarray_overflow(void) {
  for (size_t i = 0; i < COUNT(OVERFLOWS); i++) {
    void *old = malloc(1000);
    fill(old, 1000, i);
    errno = 0;
    void *block = reallocarray(old, opaque(OVERFLOWS[i][0]), opaque(OVERFLOWS[i][1]));
    expect(block == NULL, "(%#zx, %#zx) gave a block", OVERFLOWS[i][0], OVERFLOWS[i][1]);
    expect(errno == ENOMEM, "errno is %d", errno);
    expect(holds(old, 1000, i), "the old block is lost");
    free(old);
  }
  int *array = reallocarray(NULL, 100, sizeof *array);
  expect(array && malloc_usable_size(array) >= 100 * sizeof *array, "(NULL, 100, 4) is too small");
  free(array);
}

static void realloc_keeps_contents(void) {
  for (size_t i = 0; i < COUNT(SIZES); i++)
    for (size_t j = 0; j < COUNT(SIZES); j += 3) {
      size_t from = SIZES[i], to = SIZES[j], kept = from < to ? from : to;
      if (kept > 1048577 && (i + j) % 4) continue; /* each such pair costs many pages */
      void *block = malloc(from);
      mark(block, from, i);
      block = realloc(block, to);
      expect(block != NULL, "%zu to %zu gave NULL", from, to);
      expect(marked(block, from, kept, i), "%zu to %zu lost bytes", from, to);
      expect(malloc_usable_size(block) >= to, "%zu to %zu is too small", from, to);
      mark(block, to, j);
      expect(marked(block, to, to, j), "%zu to %zu cannot be written", from, to);
      free(block);
    }
  /* One block that grows by small steps, as a vector does, with neighbours in its way. */
  size_t size = 1;
  char *block = malloc(size), *neighbours[400];
  fill(block, size, 1);
  for (size_t i = 0; i < COUNT(neighbours); i++) {
    size_t larger = size + size / 32 + 1;
    block = realloc(block, larger);
    expect(block && holds(block, size, 1), "growth to %zu lost bytes", larger);
    fill(block, larger, 1);
    neighbours[i] = malloc(size % 5000);
    size = larger;
  }
  for (size_t i = 0; i < COUNT(neighbours); i++) free(neighbours[i]);
  free(block);
}

static void realloc_null(void) {
  for (size_t i = 0; i < COUNT(SIZES); i++) {
    void *block = realloc(NULL, SIZES[i]);
    expect(block && malloc_usable_size(block) >= SIZES[i], "of %zu", SIZES[i]);
    fill(block, SIZES[i], i);
    free(block);
  }
}

/* The block stays alive: usable, distinct from every later one, and to be freed. */
static void shrinks_to_nothing(int array) {
  for (size_t i = 0; i < COUNT(SIZES); i++) {
    void *block = malloc(SIZES[i]), *others[64];
    memset(block, 1, SIZES[i]);
    void *kept = array ? reallocarray(block, opaque(0), 8) : realloc(block, opaque(0));
    expect(kept != NULL, "a block of %zu was freed", SIZES[i]);
    for (size_t j = 0; j < COUNT(others); j++) {
      others[j] = malloc(j % 2 ? SIZES[i] : 1);
      expect(others[j] != kept, "a block of %zu was freed and handed out again", SIZES[i]);
    }
    for (size_t j = 0; j < COUNT(others); j++) free(others[j]);
    kept = realloc(kept, 100);
    expect(kept != NULL, "a block of %zu cannot grow again", SIZES[i]);
    fill(kept, 100, i);
    free(kept);
  }
}

static void realloc_zero(void) { shrinks_to_nothing(0); }
static void reallocarray_zero(void) { shrinks_to_nothing(1); }

static void realloc_failure(void) {
  for (size_t i = 0; i < COUNT(SIZES) && SIZES[i] <= 16777216; i++) {
    void *block = malloc(SIZES[i]);
    fill(block, SIZES[i], i);
    for (size_t j = 0; j < COUNT(HUGE); j++) {
      errno = 0;
      expect(realloc(block, opaque(HUGE[j])) == NULL, "%zu to %#zx succeeded", SIZES[i], HUGE[j]);
      expect(errno == ENOMEM, "%zu to %#zx: errno is %d", SIZES[i], HUGE[j], errno);
      expect(holds(block, SIZES[i], i), "%zu to %#zx lost the old block", SIZES[i], HUGE[j]);
    }
    void *other = malloc(SIZES[i]);
    expect(other != block, "a block of %zu was freed by a failed realloc", SIZES[i]);
    free(other);
    block = realloc(block, SIZES[i] + 100);
    expect(block && holds(block, SIZES[i], i), "%zu cannot grow after a failure", SIZES[i]);
    free(block);
  }
}

static void huge_sizes(void) {
  for (size_t i = 0; i < COUNT(HUGE); i++) {
    size_t size = opaque(HUGE[i]);
    struct {
      const char *name;
      void *block;
      int error;
    } results[8];
#define TRY(n, name_, call) errno = 0, results[n].name = name_, results[n].block = call, results[n].error = errno
    TRY(0, "malloc", malloc(size));
    TRY(1, "calloc", calloc(1, size));
    TRY(2, "realloc(NULL)", realloc(NULL, size));
    TRY(3, "aligned_alloc", aligned_alloc(64, size));
    TRY(4, "memalign", memalign(8192, size));
    TRY(5, "valloc", valloc(size));
    TRY(6, "pvalloc", pvalloc(size));
    TRY(7, "reallocarray(NULL)", reallocarray(NULL, 1, size));
#undef TRY
    for (size_t j = 0; j < COUNT(results); j++) {
      expect(results[j].block == NULL, "%s of %#zx gave a block", results[j].name, size);
      expect(results[j].error == ENOMEM, "%s of %#zx: errno is %d", results[j].name, size, results[j].error);
    }
  }
  /* A good alignment which together with the size passes the end of the address space. */
  errno = 0;
  expect(aligned_alloc((size_t)1 << 40, opaque(SIZE_MAX - ((size_t)1 << 39))) == NULL, "the sum wrapped");
  expect(errno == ENOMEM, "errno is %d", errno);
}

static void posix_memalign_errors(void) {
  static char untouched;
  static const size_t bad[] = {0, 1, 2, 3, 4, 5, 7, 12, 20, 24, 40, 48, 96, 1000, 4097, SIZE_MAX, SIZE_MAX / 2};
  for (size_t i = 0; i < COUNT(bad); i++) {
    void *block = &untouched;
    errno = 4711;
    int result = posix_memalign(&block, opaque(bad[i]), 100);
    expect(result == EINVAL, "alignment %zu gave %d", bad[i], result);
    expect(block == &untouched, "alignment %zu: the pointer was written", bad[i]);
    expect(errno == 4711, "alignment %zu: errno became %d", bad[i], errno);
  }
  for (size_t i = 0; i < COUNT(HUGE); i++) {
    void *block = &untouched;
    errno = 4711;
    int result = posix_memalign(&block, i % 2 ? 64 : 65536, opaque(HUGE[i]));
    expect(result == ENOMEM, "size %#zx gave %d", HUGE[i], result);
    expect(block == &untouched, "size %#zx: the pointer was written", HUGE[i]);
    expect(errno == ENOMEM, "size %#zx: errno is %d", HUGE[i], errno);
  }
}

static void *either(int which, size_t alignment, size_t size) {
  return which ? memalign(opaque(alignment), size) : aligned_alloc(opaque(alignment), size);
}

static void alignment_errors(void) {
  static const char *const names[] = {"aligned_alloc", "memalign"};
  static const size_t odd[] = {0, 3, 5, 6, 7, 12, 20, 24, 40, 48, 96, 1000, 4097, 12288};
  static const size_t bad[] = {SIZE_MAX, SIZE_MAX / 2 + 2};
  for (int which = 0; which < 2; which++) {
    for (size_t i = 0; i < COUNT(odd); i++) {
      size_t next = 16;
      while (next < odd[i]) next *= 2;
      errno = 4711;
      void *block = either(which, odd[i], 96);
      expect(block && aligned_to(block, next), "%s(%zu) gave %p", names[which], odd[i], block);
      expect(errno == 4711, "%s(%zu): errno became %d", names[which], odd[i], errno);
      free(block);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
      errno = 0;
      expect(either(which, bad[i], 96) == NULL, "%s(%zu) gave a block", names[which], bad[i]);
      expect(errno == EINVAL, "%s(%zu): errno is %d", names[which], bad[i], errno);
    }
  }
}

static void aligned_blocks(void) {
  static const size_t sizes[] = {0, 1, 8, 24, 100, 1000, 5000, 40000, 300000, 3000000};
  for (size_t alignment = 8; alignment <= (size_t)64 << 20; alignment *= 2)
    for (size_t i = 0; i < COUNT(sizes); i++) {
      void *blocks[4] = {aligned_alloc(alignment, sizes[i]), memalign(alignment, sizes[i]), NULL, NULL};
      size_t usable[4];
      errno = 4711;
      int result = posix_memalign(&blocks[2], alignment, sizes[i]);
      expect(result == 0, "posix_memalign(%zu, %zu) gave %d", alignment, sizes[i], result);
      expect(errno == 4711, "posix_memalign(%zu, %zu): errno became %d", alignment, sizes[i], errno);
      blocks[3] = aligned_alloc(alignment, sizes[i]);
      for (size_t j = 0; j < 4; j++) {
        expect(blocks[j] != NULL, "%zu bytes at %zu gave NULL", sizes[i], alignment);
        expect(aligned_to(blocks[j], alignment < 16 ? 16 : alignment), "%zu bytes at %zu gave %p", sizes[i],
               alignment, blocks[j]);
        usable[j] = malloc_usable_size(blocks[j]);
        expect(usable[j] >= sizes[i], "%zu bytes at %zu are too few", sizes[i], alignment);
        mark(blocks[j], usable[j], j);
      }
      for (size_t j = 0; j < 4; j++)
        expect(marked(blocks[j], usable[j], sizes[i], j), "%zu at %zu overwritten", sizes[i], alignment);
      for (size_t j = 0; j < 3; j++) {
        blocks[j] = realloc(blocks[j], sizes[i] * 2 + 1);
        expect(blocks[j] && marked(blocks[j], usable[j], sizes[i], j), "realloc of %zu at %zu lost bytes", sizes[i],
               alignment);
        free(blocks[j]);
      }
      free(blocks[3]);
    }
}

static void whole_pages(void) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (size_t i = 0; i < COUNT(SIZES); i++) {
    void *a = valloc(SIZES[i]), *b = pvalloc(SIZES[i]);
    expect(a && aligned_to(a, page), "valloc(%zu) gave %p", SIZES[i], a);
    expect(b && aligned_to(b, page), "pvalloc(%zu) gave %p", SIZES[i], b);
    size_t rounded = (SIZES[i] + page - 1) / page * page;
    expect(malloc_usable_size(b) >= rounded, "pvalloc(%zu) has %zu bytes", SIZES[i], malloc_usable_size(b));
    fill(a, SIZES[i], 1), fill(b, rounded, 2);
    expect(holds(a, SIZES[i], 1), "valloc(%zu) was overwritten", SIZES[i]);
    free(a), free(b);
  }
}

/* Blocks that the C library allocates for its caller, who frees them with the family's free. */
static void library_blocks(void) {
  char *text = NULL, *line = NULL, *memory = NULL;
  size_t room = 0, size = 0;
  expect(asprintf(&text, "%0*d", 5000, 7) == 5000, "asprintf");
  FILE *stream = open_memstream(&memory, &size);
  for (int i = 0; i < 20000; i++) fprintf(stream, "%d ", i);
  fclose(stream);
  stream = fmemopen(memory, size, "r");
  expect(getline(&line, &room, stream) == (ssize_t)size, "getline");
  fclose(stream);
  char *where = getcwd(NULL, 0), *real = realpath(".", NULL), *copy = strdup(text);
  expect(where && real && strcmp(where, real) == 0, "getcwd and realpath");
  free(text), free(memory), free(where), free(real), free(copy);
  line = realloc(line, room * 2);
  free(line);
}

static void free_null(void) {
  free(NULL);
  expect(sized_free && aligned_sized_free && old_free, "free_sized, free_aligned_sized or cfree is missing");
  sized_free(NULL, 0), aligned_sized_free(NULL, 16, 0), old_free(NULL);
}

const struct check family_checks[] = {{"zero-sizes", zero_sizes},
                                      {"alignment-16", alignment_16},
                                      {"usable-size", usable_size},
                                      {"calloc-zeroes", calloc_zeroes},
                                      {"calloc-overflow", calloc_overflow},
                                      {"reallocarray-overflow", reallocarray_overflow},
                                      {"realloc-keeps-contents", realloc_keeps_contents},
                                      {"realloc-null", realloc_null},
                                      {"realloc-zero", realloc_zero},
                                      {"reallocarray-zero", reallocarray_zero},
                                      {"realloc-failure", realloc_failure},
                                      {"huge-sizes", huge_sizes},
                                      {"posix-memalign-errors", posix_memalign_errors},
                                      {"alignment-errors", alignment_errors},
                                      {"aligned-blocks", aligned_blocks},
                                      {"whole-pages", whole_pages},
                                      {"library-blocks", library_blocks},
                                      {"free-null", free_null},
                                      {NULL, NULL}};
