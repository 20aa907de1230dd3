/* dispatch through|direct N: N pairs of PyMem_RawMalloc and PyMem_RawFree over a table whose functions do next to
 * nothing, or N pairs of these functions called directly. The difference is what CPython itself spends on its way to a
 * table, whoever set it. Linked with libpython; its headers are not needed. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  void *ctx;
  void *(*malloc)(void *, size_t);
  void *(*calloc)(void *, size_t, size_t);
  void *(*realloc)(void *, void *, size_t);
  void (*free)(void *, void *);
} PyMemAllocatorEx;
void PyMem_GetAllocator(int, PyMemAllocatorEx *);
void PyMem_SetAllocator(int, PyMemAllocatorEx *);
void *PyMem_RawMalloc(size_t);
void PyMem_RawFree(void *);

static void *table_malloc(void *ctx, size_t size) { return (void)size, ctx; }
static void table_free(void *ctx, void *block) { (void)ctx, (void)block; }
static void *direct_malloc(size_t size) { return (void *)size; }
static void direct_free(void *block) { (void)block; }

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  int through = strcmp(argv[1], "through") == 0;
  uint64_t n = strtoull(argv[2], NULL, 10);
  PyMemAllocatorEx table;
  PyMem_GetAllocator(0, &table);
  table.ctx = &table;
  table.malloc = table_malloc;
  table.free = table_free;
  if (through) PyMem_SetAllocator(0, &table);
  void *(*volatile chosen_allocate)(size_t) = through ? PyMem_RawMalloc : direct_malloc;
  void (*volatile chosen_release)(void *) = through ? PyMem_RawFree : direct_free;
  void *(*allocate)(size_t) = chosen_allocate;
  void (*release)(void *) = chosen_release;
  while (n-- > 0) release(allocate(64));
  return 0;
}
