/* blocks N calloc|memset: replaces one of 20 zeroed blocks of 5–25 MiB, N times, as a numeric or image program
 * does with its frames. An allocator that gives freed blocks back at once pays for every page again by a fault. */
#include "workload.h"

int main(int argc, char **argv) {
  enum { BLOCKS = 20 };
  static unsigned char *blocks[BLOCKS];
  if (argc != 3) return 2;
  int cleared = strcmp(argv[2], "calloc") == 0;
  for (uint64_t n = strtoull(argv[1], NULL, 10); n > 0; n--) {
    unsigned slot = below(BLOCKS);
    size_t size = ((size_t)5 << 20) + below(20u << 20);
    free(blocks[slot]);
    unsigned char *block = must(cleared ? calloc(1, size) : malloc(size));
    /* gcc makes one calloc of malloc and memset, unless something could be in between. */
    __asm__ volatile("" : "+r"(block));
    if (!cleared) memset(block, 0, size);
    blocks[slot] = block;
    /* One write per page: the frame is used, but the program's own work stays small. */
    for (size_t at = 0; at < size; at += 4096) blocks[slot][at] = 1;
  }
  return 0;
}
