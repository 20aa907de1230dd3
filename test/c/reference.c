/* The contract kept over glibc's own functions, and many ways of breaking it: what shows that the checks bite.
 *
 * Preloaded, it passes the contract; with MISTAKE=<name> in the environment it makes that one mistake, and the
 * check that is there for it must fail (test/shim.test.ts). It serves as the foreign allocator of other tests too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static const char *mistake = "";
static size_t (*glibc_usable)(void *);
static pthread_t first;
static pthread_key_t key;
static atomic_int guests;
static _Thread_local enum { UNKNOWN, ALIVE, DEAD } guest;
static _Thread_local void *latest;

static int makes(const char *name) { return strcmp(mistake, name) == 0; }

static void thread_ends(void *unused) {
  (void)unused;
  guest = DEAD;
  if (makes("thread-takes-along")) __libc_free(latest);
}

__attribute__((constructor)) static void start(void) {
  first = pthread_self();
  pthread_key_create(&key, thread_ends);
  glibc_usable = (size_t (*)(void *))dlsym(RTLD_NEXT, "malloc_usable_size");
  if (getenv("MISTAKE")) mistake = getenv("MISTAKE");
}

/* In a thread other than the first. */
static int in_guest(void) {
  if (!first || pthread_equal(first, pthread_self())) return 0;
  if (guest == UNKNOWN) {
    guest = ALIVE;
    guests++;
    pthread_setspecific(key, &guest);
  }
  return 1;
}

/* The blocks of the mistake `align-8` stand 8 bytes inside of glibc's. */
static int shifted(void *block) { return ((uintptr_t)block & 15) == 8; }
static char nothing[4096] __attribute__((aligned(4096)));

size_t malloc_usable_size(void *block) {
  if (!block || block == nothing) return makes("usable-null") ? 8 : 0;
  if (shifted(block)) return glibc_usable((char *)block - 8) - 8;
  return glibc_usable(block) + (makes("usable-more") ? 16 : 0) - (makes("usable-less") ? 16 : 0);
}

/* The mistake `fork-lock`: a lock of one's own, and no pthread_atfork that takes it before a fork. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void take_turn(void) {
  if (!makes("fork-lock")) return;
  pthread_mutex_lock(&lock);
  for (volatile int i = 0; i < 200; i++) continue;
  pthread_mutex_unlock(&lock);
}

static void *allocate(size_t size) {
  take_turn();
  if (size == 0 && makes("zero-null")) return NULL;
  if (size == 0 && makes("zero-shared")) return nothing;
  if (size <= 8 && makes("align-8")) return (char *)__libc_malloc(size + 8) + 8;
  int error = errno;
  void *block = __libc_malloc(size);
  if (!block && makes("no-enomem")) errno = error;
  return block;
}

void *malloc(size_t size) {
  static _Atomic(void *) last;
  static atomic_uint count;
  if (in_guest()) {
    if (guest == DEAD && makes("thread-dead")) return NULL;
    if (guests > 300 && makes("thread-limit")) return NULL;
    if (makes("twice-in-threads") && size > 64 && count++ % 1000 == 999) return last;
    return last = latest = allocate(size);
  }
  if (makes("twice") && size > 64 && count++ % 1000 == 999) return last;
  return last = allocate(size);
}

static void release(void *block) {
  if (!block || block == nothing) return;
  if (makes("free-errno") || (makes("free-errno-large") && malloc_usable_size(block) >= 131072)) errno = EINVAL;
  if (makes("free-errno-refused")) madvise(nothing, 0, 0);
  __libc_free(shifted(block) ? (char *)block - 8 : block);
}

void free(void *block) { release(block); }
void cfree(void *block) { release(block); }

void free_sized(void *block, size_t size) {
  (void)size;
  if (makes("free-sized-errno")) errno = EINVAL;
  release(block);
}

void free_aligned_sized(void *block, size_t alignment, size_t size) {
  (void)alignment, (void)size;
  release(block);
}

void *calloc(size_t count, size_t size) {
  if (makes("calloc-overflow")) return __libc_calloc(1, count * size);
  if (makes("calloc-dirty") && count * size > 64) return malloc(count * size);
  if (count * size == 0 && makes("zero-shared")) return nothing;
  return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
  if (!block) return makes("realloc-null") ? NULL : malloc(size);
  if (size == 0 && !makes("realloc-zero")) size = 1;
  if (makes("realloc-dangles") && size == 1) {
    release(block);
    return block;
  }
  if (block == nothing) return malloc(size);
  size_t old = malloc_usable_size(block);
  if (shifted(block) || makes("realloc-loses-tail")) {
    void *moved = malloc(size);
    if (!moved) return NULL;
    size_t kept = old < size ? old : size;
    memcpy(moved, block, kept - (kept > 100 && makes("realloc-loses-tail")));
    release(block);
    return moved;
  }
  void *resized = __libc_realloc(block, size);
  if (!resized && makes("realloc-fail-frees")) release(block);
  if (!resized && makes("no-enomem")) errno = 0;
  return resized;
}

void *reallocarray(void *block, size_t count, size_t size) {
  size_t total;
  if (__builtin_mul_overflow(count, size, &total) && !makes("reallocarray-overflow")) {
    if (makes("reallocarray-fail-frees")) release(block);
    errno = ENOMEM;
    return NULL;
  }
  return realloc(block, total);
}

static int power_of_two(size_t alignment) { return alignment != 0 && (alignment & (alignment - 1)) == 0; }

void *memalign(size_t alignment, size_t size) {
  size_t next = 1;
  while (next && next < alignment) next *= 2;
  if (!next || (!power_of_two(alignment) && makes("memalign-refuses"))) {
    errno = EINVAL;
    return NULL;
  }
  if (next > 4096 && makes("align-4096")) next = 4096;
  return __libc_memalign(makes("memalign-odd") && next > 16 ? next / 2 : next, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **result, size_t alignment, size_t size) {
  if (!power_of_two(alignment) || (alignment % sizeof(void *) && !makes("posix-memalign-any"))) return EINVAL;
  int error = errno;
  void *block = memalign(alignment, size);
  if (block || makes("posix-memalign-errno")) errno = error;
  if (block || makes("posix-memalign-writes")) *result = block;
  return block ? 0 : ENOMEM;
}

void *valloc(size_t size) { return memalign(makes("valloc-plain") ? 16 : (size_t)sysconf(_SC_PAGESIZE), size); }

void *pvalloc(size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), rounded;
  if (makes("pvalloc-short")) return memalign(page, size);
  if (__builtin_add_overflow(size, page - 1, &rounded) && !makes("pvalloc-overflow")) {
    errno = ENOMEM;
    return NULL;
  }
  return memalign(page, rounded & ~(page - 1));
}
