/* What a program can ask the preloaded malloc-backend library that serves its malloc.
 *
 * Declare the entry point weak, or look it up with dlsym(RTLD_DEFAULT, "malloc_backend_shim"): where no such
 * library is loaded there is none.
 */
#ifndef MALLOC_BACKEND_SHIM_H
#define MALLOC_BACKEND_SHIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MALLOC_BACKEND_SHIM_ABI 1u

/* A figure that the backend cannot tell. */
#define MALLOC_BACKEND_ABSENT UINT64_MAX

/* Bytes; the meanings are jemalloc's (jemalloc(3), stats.*). */
struct malloc_backend_stats {
  uint64_t allocated; /* in live blocks */
  uint64_t active;    /* in pages that hold live blocks */
  uint64_t metadata;  /* of the allocator's own structures */
  uint64_t resident;  /* in physical memory */
  uint64_t mapped;    /* mapped and usable */
  uint64_t retained;  /* address space kept without memory behind it */
};

struct malloc_backend_shim {
  uint32_t abi;  /* MALLOC_BACKEND_SHIM_ABI */
  uint32_t size; /* of this structure: fields are only ever added at its end */
  const char *backend; /* "default", "jemalloc", "mimalloc" or "snmalloc" */
  const char *version; /* of the backend, "5.3.1" for example */
  /* This library's file, as the dynamic loader names it. */
  const char *(*path)(void);
  /* Fills in what the backend can tell, and MALLOC_BACKEND_ABSENT elsewhere. */
  void (*stats)(struct malloc_backend_stats *);
  /* Gives free memory back to the system: 0, or -1 where the backend has no way to. */
  int (*release)(void);
  /* Has what is free in the calling thread's own cache or heap go to where a release by another thread finds it; with
   * purge, what then is left and only this thread can reach goes back to the system. Look at size first: the first
   * libraries do not have it. */
  void (*collect_thread)(int purge);
};

const struct malloc_backend_shim *malloc_backend_shim(void);

#ifdef __cplusplus
}
#endif
#endif
