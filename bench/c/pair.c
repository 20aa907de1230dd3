/* pair SIZE N [stop]: N pairs of malloc and free. ALLOCATE and RELEASE name the functions, so that the same loop can
 * call an allocator in a static library and the one that a preload puts in malloc's place. Both are called by
 * pointer: the loop is the same to the instruction. With `stop` it stops itself before the loop (c/steps.c). */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

#ifndef ALLOCATE
#define ALLOCATE malloc
#define RELEASE free
#endif
void *ALLOCATE(size_t);
void RELEASE(void *);

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  size_t size = strtoull(argv[1], NULL, 10);
  uint64_t n = strtoull(argv[2], NULL, 10);
  void *(*volatile chosen_allocate)(size_t) = ALLOCATE;
  void (*volatile chosen_release)(void *) = RELEASE;
  void *(*allocate)(size_t) = chosen_allocate;
  void (*release)(void *) = chosen_release;
  /* Another block of the size stays alive, as in a program: a page that falls empty after each pair would
   * measure how the allocator retires pages. */
  void *volatile alive = allocate(size);
  (void)alive;
  if (argc > 3) raise(SIGSTOP);
  while (n-- > 0) release(allocate(size));
  return 0;
}
