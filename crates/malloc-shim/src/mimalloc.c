/* mimalloc itself, from libmimalloc-sys, as that crate compiles it, but for two functions and one more thing to do:
 *
 * - What it gives back to the system, and takes again, goes through src/idle/mimalloc.rs. libmimalloc-sys's own functions
 *   tell mimalloc that memory which was given back can be used again without a word. Then nobody but the thread that owns
 *   a segment could ever give back what is free in it, and a thread that waits does nothing.
 * - mi_collect(true) gives back all that waits for that, too.
 *
 * The linker finds every function here and takes nothing of libmimalloc-sys's own object. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include <errno.h>
#include <mimalloc.h>
#include <mimalloc/internal.h>
#include <mimalloc/prim.h>

int malloc_backend_mi_decommit(void *start, size_t size, bool *needs_recommit);
int malloc_backend_mi_commit(void *start, size_t size, bool *is_zero);
void malloc_backend_mi_give_back(void);

#define _mi_prim_decommit malloc_backend_mi_decommit
#define _mi_prim_commit malloc_backend_mi_commit
#define mi_collect malloc_backend_mi_collect_only
/* The files and their order are those of mimalloc's static.c. */
#include "alloc.c"
#include "alloc-aligned.c"
#include "alloc-posix.c"
#include "arena.c"
#include "bitmap.c"
#include "heap.c"
#include "init.c"
#include "libc.c"
#include "options.c"
#include "os.c"
#include "page.c"
#include "random.c"
#include "segment.c"
#include "segment-map.c"
#include "stats.c"
#undef mi_collect
#undef _mi_prim_commit
#undef _mi_prim_decommit
#include "prim/prim.c"

void mi_collect(bool force) mi_attr_noexcept {
  malloc_backend_mi_collect_only(force);
  if (force) malloc_backend_mi_give_back();
}

/* mimalloc's `malloc` and `calloc`, but every block is aligned to 16 bytes.
 *
 * mimalloc has pages with blocks of 8 bytes for what is that small. It finds a page in a table of pointers by the size,
 * rounded up to 8. Here the size is rounded up to 16, in as many instructions, and so small a request gets a block of
 * 16. All other pages have blocks of a multiple of 16 bytes: every other request gets the block that mimalloc would give
 * it. (With a comparison before `mi_malloc` instead, sizes that vary at random cost a sixth more: the processor guesses
 * it wrongly.) */
#if MI_INTPTR_SIZE != 8 || MI_MAX_ALIGN_SIZE != 16 || MI_PADDING || MI_STAT || MI_SECURE || MI_GUARDED || MI_DEBUG
#error "this is mi_malloc as a release for 64 bits has it"
#endif

/* A size of 0 is the largest to this comparison, and so out of the way of the others. */
static inline bool is_small(size_t size) { return size - 1 < MI_SMALL_SIZE_MAX; }

/* The page for a small size. A pointer takes 8 bytes, so that the size in bytes is the offset into the table. */
static inline mi_page_t *page_for(mi_heap_t *heap, size_t size) {
  const char *const table = (const char *)heap->pages_free_direct;
  return *(mi_page_t *const *)(table + ((size - 1) | 15) + 1);
}

mi_decl_export void *malloc_backend_mi_malloc(size_t size) {
  mi_heap_t *const heap = mi_prim_get_default_heap();
  if mi_likely (is_small(size)) {
    mi_page_t *const page = page_for(heap, size);
    mi_block_t *const block = page->free;
    if mi_unlikely (block == NULL) return _mi_malloc_generic(heap, (size + 15) & ~(size_t)15, false, 0, NULL);
    page->free = mi_block_next(page, block);
    page->used++;
    return block;
  }
  return size == 0 ? malloc_backend_mi_malloc(1) : _mi_malloc_generic(heap, size, false, 0, NULL);
}

mi_decl_export void *malloc_backend_mi_calloc(size_t count, size_t size) {
  size_t total;
  if mi_unlikely (mi_count_size_overflow(count, size, &total)) {
    errno = ENOMEM; /* which mimalloc leaves as it is */
    return NULL;
  }
  mi_heap_t *const heap = mi_prim_get_default_heap();
  if mi_likely (is_small(total)) return _mi_page_malloc_zeroed(heap, page_for(heap, total), (total + 15) & ~(size_t)15);
  return total == 0 ? malloc_backend_mi_calloc(1, 1) : _mi_malloc_generic(heap, total, true, 0, NULL);
}
