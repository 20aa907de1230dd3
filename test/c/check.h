/* The runner of the contract: named checks, one line of output for each.
 *
 *   1..N            how many checks follow
 *   ok NAME         it holds
 *   not ok NAME: …  it does not
 *   skip NAME: …    this machine cannot tell, and why
 */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

struct check {
  const char *name;
  void (*run)(void);
};

/* Ends the running check. From the main thread only: a thread returns its failure to the one that joins it. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define expect(condition, ...) \
  do { \
    if (!(condition)) fail(__VA_ARGS__); \
  } while (0)

#ifndef __GLIBC__
/* musl has none, and the preloaded library does. Without the library, what it would do. */
extern void *own_pvalloc(size_t size) __asm__("pvalloc") __attribute__((weak));
static inline void *pvalloc(size_t size) {
  if (own_pvalloc) return own_pvalloc(size);
  size_t page = (size_t)sysconf(_SC_PAGESIZE), room = SIZE_MAX - page;
  return valloc(size > room ? SIZE_MAX : (size + page - !!size) / page * page);
}
#endif

/* Hides a value from the optimiser, which knows what malloc and its family are said to do. */
static inline size_t opaque(size_t value) {
  __asm__ volatile("" : "+r"(value));
  return value;
}

/* xorshift64*: the same numbers on every machine. */
static inline uint64_t next_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 0x2545F4914F6CDD1Dull;
}

/* How often a check that repeats itself does so: less in an emulator, by CONTRACT_OPERATIONS, which is of a million. */
size_t repeated(size_t count);

/* Writes a pattern that differs for every tag and every place; `holds` compares the first `size` bytes with it. */
void fill(void *block, size_t size, uint64_t tag);
int holds(const void *block, size_t size, uint64_t tag);

/* Younger than most C libraries, or removed from them: null where the process has none. */
extern void (*sized_free)(void *, size_t);
extern void (*aligned_sized_free)(void *, size_t, size_t);
extern void (*old_free)(void *);

/* The tables of the other files, each ended by a null name. */
extern const struct check family_checks[], errno_checks[], thread_checks[], model_checks[];

#endif
