// The functions that stand in the GOT slots of malloc and its family while a profile runs (crates/profile/src/got.rs).
//
// The fast path of an allocation is a subtraction from the thread's countdown of bytes and a jump to the original function.
// The fast path of a free is a test of the pointer's low 12 bits, because sampled blocks lie at the start of a page. All else is in
// crates/profile. This file is C for three reasons: thread-local storage of the initial-exec model, the caller's frame, and
// calls of the original functions that are jumps: on the fast path the originals see the caller's return address.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define SLOW __attribute__((noinline, cold))
// A block may be a sampled one if none of these bits of its address is set. A sampled block begins at a page, or 16 bytes
// behind the start of a page, where glibc puts blocks that have pages of their own.
#define UNSAMPLED 0xfef

// The same as `Thread` in crates/profile/src/hooks.rs. It must stay this small: the C library keeps only a few hundred bytes
// for libraries that are opened late.
struct thread {
  uint64_t left;
  void *record;
  uint32_t session;
  uint32_t queued_by;
  uint32_t queued_session;
  uint32_t busy;
};

// musl refuses this model in a library that is opened late; it never allocates when a thread first uses its copy.
#ifdef __GLIBC__
__attribute__((tls_model("initial-exec")))
#endif
static __thread struct thread thread;

static struct thread *current(void) { return &thread; }

// The registers of the function that called malloc, as they are after the call.
struct caller {
  uintptr_t pc, sp, fp;
};

#define CALLER                                                             \
  uintptr_t *const own_frame = __builtin_frame_address(0);                 \
  const struct caller caller = {own_frame[1], (uintptr_t)(own_frame + 2), own_frame[0]}

// The registers of the function that calls this one.
static SLOW void here(struct caller *here) {
  CALLER;
  *here = caller;
}

// The functions of crates/profile. The same as `Functions` in its hooks.rs.
struct work;
struct functions {
  // A sampled block; or null, and the original function is to be called (sampler.rs).
  void *(*sample)(struct thread *, size_t size, size_t alignment, bool zeroed, const struct caller *);
  // The same for a block that was resized. Returns the block, or where it was moved to (sampler.rs).
  void *(*adopt)(struct thread *, void *block, size_t size, const struct caller *);
  // Forgets a block that may be a sampled one (sampler.rs).
  void (*forget)(void *block);
  // Looks for modules that were loaded since (got.rs).
  void (*look_for_modules)(void);
  // Work for the pool of threads, linked to the stack that queued it (queued.rs).
  struct work *(*queued)(struct thread *, const struct caller *, void *run, void *done, void *data);
  void (*created)(struct work *, void *handle);
  void (*deleted)(void *handle);
  void (*run)(void *env, void *work);
  void (*done)(void *env, int status, void *work);
};
static struct functions profiler;

typedef void *allocates(size_t);
typedef void *allocates_or_null(size_t, const void *nothrow);
typedef void *allocates_aligned(size_t size, size_t alignment);
typedef void *allocates_aligned_or_null(size_t size, size_t alignment, const void *nothrow);
typedef void frees(void *);
typedef void frees_1(void *, uintptr_t);
typedef void frees_2(void *, uintptr_t, uintptr_t);
typedef int creates_work(void *env, void *resource, void *name, void *run, void *done, void *data, void **result);
typedef int deletes_work(void *env, void *work);

// The original functions.
struct originals {
  allocates *malloc, *valloc, *_Znwm, *_Znam;
  allocates_or_null *_ZnwmRKSt9nothrow_t, *_ZnamRKSt9nothrow_t;
  allocates_aligned *_ZnwmSt11align_val_t, *_ZnamSt11align_val_t;
  allocates_aligned_or_null *_ZnwmSt11align_val_tRKSt9nothrow_t, *_ZnamSt11align_val_tRKSt9nothrow_t;
  void *(*calloc)(size_t, size_t);
  void *(*realloc)(void *, size_t);
  void *(*reallocarray)(void *, size_t, size_t);
  void *(*memalign)(size_t, size_t);
  void *(*aligned_alloc)(size_t, size_t);
  int (*posix_memalign)(void **, size_t, size_t);
  size_t (*malloc_usable_size)(void *);
  frees *free, *cfree, *_ZdlPv, *_ZdaPv;
  frees_1 *free_sized, *_ZdlPvm, *_ZdlPvRKSt9nothrow_t, *_ZdaPvm, *_ZdaPvRKSt9nothrow_t, *_ZdlPvSt11align_val_t,
      *_ZdaPvSt11align_val_t;
  frees_2 *free_aligned_sized, *_ZdlPvmSt11align_val_t, *_ZdlPvSt11align_val_tRKSt9nothrow_t, *_ZdaPvmSt11align_val_t,
      *_ZdaPvSt11align_val_tRKSt9nothrow_t;
  void *(*dlsym)(void *, const char *);
  void *(*dlopen)(const char *, int);
  creates_work *napi_create_async_work;
  deletes_work *napi_delete_async_work;
};
static struct originals original;

// ---- What allocates. Each has a fast path, and a slow one that knows the caller's frame.

static inline bool is_unsampled(size_t size) {
  const uint64_t left = thread.left;
  if (!LIKELY(size < left)) return false;
  thread.left = left - size;
  return true;
}

static inline void *sample(size_t size, size_t alignment, bool zeroed, const struct caller *caller) {
  return profiler.sample(&thread, size, alignment, zeroed, caller);
}

#define ALLOCATES(name)                                        \
  static SLOW void *slow_##name(size_t size) {                 \
    CALLER;                                                    \
    void *const block = sample(size, 0, false, &caller);       \
    return block != NULL ? block : original.name(size);        \
  }                                                            \
  static void *hook_##name(size_t size) {                      \
    if (is_unsampled(size)) return original.name(size);        \
    return slow_##name(size);                                  \
  }

#define ALLOCATES_OR_NULL(name)                                         \
  static SLOW void *slow_##name(size_t size, const void *nothrow) {     \
    CALLER;                                                             \
    void *const block = sample(size, 0, false, &caller);                \
    return block != NULL ? block : original.name(size, nothrow);        \
  }                                                                     \
  static void *hook_##name(size_t size, const void *nothrow) {          \
    if (is_unsampled(size)) return original.name(size, nothrow);        \
    return slow_##name(size, nothrow);                                  \
  }

#define ALLOCATES_ALIGNED(name)                                         \
  static SLOW void *slow_##name(size_t size, size_t alignment) {        \
    CALLER;                                                             \
    void *const block = sample(size, alignment, false, &caller);        \
    return block != NULL ? block : original.name(size, alignment);      \
  }                                                                     \
  static void *hook_##name(size_t size, size_t alignment) {             \
    if (is_unsampled(size)) return original.name(size, alignment);      \
    return slow_##name(size, alignment);                                \
  }

#define ALLOCATES_ALIGNED_OR_NULL(name)                                                          \
  static SLOW void *slow_##name(size_t size, size_t alignment, const void *nothrow) {            \
    CALLER;                                                                                      \
    void *const block = sample(size, alignment, false, &caller);                                 \
    return block != NULL ? block : original.name(size, alignment, nothrow);                      \
  }                                                                                              \
  static void *hook_##name(size_t size, size_t alignment, const void *nothrow) {                 \
    if (is_unsampled(size)) return original.name(size, alignment, nothrow);                      \
    return slow_##name(size, alignment, nothrow);                                                \
  }

ALLOCATES(malloc)
ALLOCATES(valloc)
ALLOCATES(_Znwm)
ALLOCATES(_Znam)
ALLOCATES_OR_NULL(_ZnwmRKSt9nothrow_t)
ALLOCATES_OR_NULL(_ZnamRKSt9nothrow_t)
ALLOCATES_ALIGNED(_ZnwmSt11align_val_t)
ALLOCATES_ALIGNED(_ZnamSt11align_val_t)
ALLOCATES_ALIGNED_OR_NULL(_ZnwmSt11align_val_tRKSt9nothrow_t)
ALLOCATES_ALIGNED_OR_NULL(_ZnamSt11align_val_tRKSt9nothrow_t)

static SLOW void *slow_calloc(size_t count, size_t size) {
  CALLER;
  // hook_calloc has seen that this does not overflow.
  void *const block = sample(count * size, 0, true, &caller);
  return block != NULL ? block : original.calloc(count, size);
}
static void *hook_calloc(size_t count, size_t size) {
  size_t all;
  if (__builtin_mul_overflow(count, size, &all) || is_unsampled(all)) return original.calloc(count, size);
  return slow_calloc(count, size);
}

static SLOW void *slow_memalign(size_t alignment, size_t size) {
  CALLER;
  void *const block = sample(size, alignment, false, &caller);
  return block != NULL ? block : original.memalign(alignment, size);
}
static void *hook_memalign(size_t alignment, size_t size) {
  if (is_unsampled(size)) return original.memalign(alignment, size);
  return slow_memalign(alignment, size);
}

static SLOW void *slow_aligned_alloc(size_t alignment, size_t size) {
  CALLER;
  void *const block = sample(size, alignment, false, &caller);
  return block != NULL ? block : original.aligned_alloc(alignment, size);
}
static void *hook_aligned_alloc(size_t alignment, size_t size) {
  if (is_unsampled(size)) return original.aligned_alloc(alignment, size);
  return slow_aligned_alloc(alignment, size);
}

static SLOW int slow_posix_memalign(void **result, size_t alignment, size_t size) {
  CALLER;
  // An alignment that the original refuses.
  if (alignment < sizeof(void *)) return original.posix_memalign(result, alignment, size);
  void *const block = sample(size, alignment, false, &caller);
  if (block == NULL) return original.posix_memalign(result, alignment, size);
  *result = block;
  return 0;
}
static int hook_posix_memalign(void **result, size_t alignment, size_t size) {
  if (is_unsampled(size)) return original.posix_memalign(result, alignment, size);
  return slow_posix_memalign(result, alignment, size);
}

// To resize a block is to free it and to allocate another one.
static inline bool may_be_sampled(const void *block) { return ((uintptr_t)block & UNSAMPLED) == 0; }

// The original function resizes a large block without a copy of its bytes. A small one is copied once, into a sampled block.
#define LARGE (256 << 10)

static SLOW void *resized(void *old, size_t size, const struct caller *caller) {
  if (old != NULL && size >= LARGE) {
    void *const block = original.realloc(old, size);
    return block == NULL ? NULL : profiler.adopt(&thread, block, size, caller);
  }
  void *const block = sample(size, 0, false, caller);
  if (block == NULL || old == NULL) return block != NULL ? block : original.realloc(old, size);
  const size_t usable = original.malloc_usable_size(old);
  memcpy(block, old, usable < size ? usable : size);
  original.free(old);
  return block;
}

static SLOW void *slow_realloc(void *old, size_t size) {
  CALLER;
  if (old != NULL && may_be_sampled(old)) profiler.forget(old);
  // A size of 0 means different things to different allocators.
  if (size == 0 || is_unsampled(size)) return original.realloc(old, size);
  return resized(old, size, &caller);
}
static void *hook_realloc(void *old, size_t size) {
  if (!may_be_sampled(old) && is_unsampled(size)) return original.realloc(old, size);
  return slow_realloc(old, size);
}

static SLOW void *slow_reallocarray(void *old, size_t count, size_t size) {
  CALLER;
  size_t all;
  if (__builtin_mul_overflow(count, size, &all)) return original.reallocarray(old, count, size);
  if (old != NULL && may_be_sampled(old)) profiler.forget(old);
  if (all == 0 || is_unsampled(all)) return original.reallocarray(old, count, size);
  return resized(old, all, &caller);
}
static void *hook_reallocarray(void *old, size_t count, size_t size) { return slow_reallocarray(old, count, size); }

// ---- What frees. A sampled block is forgotten before it is freed: another thread may get the same address at once.

static SLOW void forget(void *block) {
  if (block != NULL) profiler.forget(block);
}

#define FREES(name)                                    \
  static void hook_##name(void *block) {               \
    if (may_be_sampled(block)) forget(block);          \
    original.name(block);                              \
  }
#define FREES_1(name)                                             \
  static void hook_##name(void *block, uintptr_t first) {         \
    if (may_be_sampled(block)) forget(block);                     \
    original.name(block, first);                                  \
  }
#define FREES_2(name)                                                                \
  static void hook_##name(void *block, uintptr_t first, uintptr_t second) {          \
    if (may_be_sampled(block)) forget(block);                                        \
    original.name(block, first, second);                                             \
  }

FREES(free)
FREES(cfree)
FREES(_ZdlPv)
FREES(_ZdaPv)
// Another allocator may take the size for granted, and a sampled block is larger than its size says.
static void hook_free_sized(void *block, uintptr_t size) {
  if (!may_be_sampled(block)) return original.free_sized(block, size);
  forget(block);
  original.free(block);
}
static void hook_free_aligned_sized(void *block, uintptr_t alignment, uintptr_t size) {
  if (!may_be_sampled(block)) return original.free_aligned_sized(block, alignment, size);
  forget(block);
  original.free(block);
}
FREES_1(_ZdlPvm)
FREES_1(_ZdlPvRKSt9nothrow_t)
FREES_1(_ZdaPvm)
FREES_1(_ZdaPvRKSt9nothrow_t)
FREES_1(_ZdlPvSt11align_val_t)
FREES_1(_ZdaPvSt11align_val_t)
FREES_2(_ZdlPvmSt11align_val_t)
FREES_2(_ZdlPvSt11align_val_tRKSt9nothrow_t)
FREES_2(_ZdaPvmSt11align_val_t)
FREES_2(_ZdaPvSt11align_val_tRKSt9nothrow_t)

// ---- What loads modules, or is called right after one was loaded. These are jumps too: both look at who calls.

static void *hook_dlsym(void *handle, const char *name) {
  profiler.look_for_modules();
  return original.dlsym(handle, name);
}
static void *hook_dlopen(const char *file, int flags) {
  profiler.look_for_modules();
  return original.dlopen(file, flags);
}

// ---- What queues work for the pool of threads.

static int hook_napi_create_async_work(void *env, void *resource, void *name, void *run, void *done, void *data,
                                       void **result) {
  CALLER;
  struct work *const work = profiler.queued(&thread, &caller, run, done, data);
  if (work == NULL) return original.napi_create_async_work(env, resource, name, run, done, data, result);
  const int status = original.napi_create_async_work(env, resource, name, (void *)profiler.run,
                                                     (void *)profiler.done, work, result);
  profiler.created(work, status == 0 ? *result : NULL);
  return status;
}
static int hook_napi_delete_async_work(void *env, void *work) {
  // Before Node gives the address to other work. Node refuses nothing here but what is no work at all.
  if (work != NULL) profiler.deleted(work);
  return original.napi_delete_async_work(env, work);
}

// ---- What CPython's domains allocate and free.
#include "domains.c"

// The same as `Kind` and `Hook` in crates/profile/src/hooks.rs.
enum kind { MALLOC, LIBC_CALLS_ANOTHER, OPERATOR, LOADER, NODE, UNHOOKED };
struct hook {
  const char *name;
  void *function;
  void *original;
  int kind;
};

#define HOOK(kind, name) {#name, (void *)hook_##name, &original.name, kind}

static const struct hook hooks[] = {
    HOOK(MALLOC, malloc),
    HOOK(MALLOC, free),
    HOOK(MALLOC, calloc),
    HOOK(MALLOC, realloc),
    HOOK(MALLOC, memalign),
    HOOK(MALLOC, aligned_alloc),
    HOOK(MALLOC, posix_memalign),
    HOOK(MALLOC, valloc),
    HOOK(MALLOC, cfree),
    HOOK(MALLOC, free_sized),
    HOOK(MALLOC, free_aligned_sized),
    HOOK(LIBC_CALLS_ANOTHER, reallocarray),
    HOOK(OPERATOR, _Znwm),
    HOOK(OPERATOR, _Znam),
    HOOK(OPERATOR, _ZnwmRKSt9nothrow_t),
    HOOK(OPERATOR, _ZnamRKSt9nothrow_t),
    HOOK(OPERATOR, _ZnwmSt11align_val_t),
    HOOK(OPERATOR, _ZnamSt11align_val_t),
    HOOK(OPERATOR, _ZnwmSt11align_val_tRKSt9nothrow_t),
    HOOK(OPERATOR, _ZnamSt11align_val_tRKSt9nothrow_t),
    HOOK(OPERATOR, _ZdlPv),
    HOOK(OPERATOR, _ZdaPv),
    HOOK(OPERATOR, _ZdlPvm),
    HOOK(OPERATOR, _ZdaPvm),
    HOOK(OPERATOR, _ZdlPvRKSt9nothrow_t),
    HOOK(OPERATOR, _ZdaPvRKSt9nothrow_t),
    HOOK(OPERATOR, _ZdlPvSt11align_val_t),
    HOOK(OPERATOR, _ZdaPvSt11align_val_t),
    HOOK(OPERATOR, _ZdlPvmSt11align_val_t),
    HOOK(OPERATOR, _ZdaPvmSt11align_val_t),
    HOOK(OPERATOR, _ZdlPvSt11align_val_tRKSt9nothrow_t),
    HOOK(OPERATOR, _ZdaPvSt11align_val_tRKSt9nothrow_t),
    HOOK(LOADER, dlsym),
    HOOK(LOADER, dlopen),
    HOOK(NODE, napi_create_async_work),
    HOOK(NODE, napi_delete_async_work),
    {"malloc_usable_size", NULL, &original.malloc_usable_size, UNHOOKED},
};

// The original functions, for the sampled block itself.
static void *aligned(size_t alignment, size_t size) { return original.memalign(alignment, size); }
static void *plain(size_t size, bool zeroed) { return zeroed ? original.calloc(1, size) : original.malloc(size); }
static void release(void *block) { original.free(block); }

// The same as `Table` in crates/profile/src/hooks.rs.
struct table {
  const struct hook *hooks;
  size_t count;
  struct thread *(*current)(void);
  void (*here)(struct caller *);
  void *(*aligned)(size_t alignment, size_t size);
  void *(*plain)(size_t size, bool zeroed);
  void (*release)(void *block);
};
static const struct table table = {hooks, sizeof hooks / sizeof *hooks, current, here, aligned, plain, release};

const struct table *hooks_of(const struct functions *functions) {
  profiler = *functions;
  return &table;
}
