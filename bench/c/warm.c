/* warm: uses 1.5 GiB in huge pages and ends. What a virtual machine's kernel has not used for a while may be gone from the
 * machine below, and whoever is first to use it again pays for that; after this nobody is. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>

int main(void) {
  size_t size = (size_t)3 << 29;
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  madvise(memory, size, MADV_HUGEPAGE);
  memset(memory, 1, size);
  return 0;
}
