/* known ROUNDS MEBIBYTES equal|slower|larger: computes so long and holds so much memory, 5 % more of it under the second
 * subject of bench/compare.ts. It calls no malloc: what differs is known, and is no allocator's doing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  /* What default/throughput sets, and default/none does not. */
  int is_second = getenv("MALLOC_MMAP_THRESHOLD_") != NULL;
  double more = is_second ? 1.05 : 1;
  long rounds = (long)(atol(argv[1]) * (strcmp(argv[3], "slower") == 0 ? more : 1));
  size_t bytes = (size_t)(atol(argv[2]) * 1048576.0 * (strcmp(argv[3], "larger") == 0 ? more : 1));
  char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  for (size_t at = 0; at < bytes; at += 4096) memory[at] = 1;
  volatile unsigned long state = 88172645463325252ul;
  for (long round = 0; round < rounds; round++) {
    unsigned long x = state;
    for (int step = 0; step < 1000; step++) x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    state = x;
  }
  return 0;
}
