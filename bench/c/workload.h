/* What the allocation workloads share: fixed work from a seeded generator, so that two runs differ in the
 * allocator alone. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local uint64_t generator = 0x9e3779b97f4a7c15u;

/* xorshift64*, and the upper half of a product instead of a division. */
static inline uint32_t below(uint32_t limit) {
  generator ^= generator >> 12;
  generator ^= generator << 25;
  generator ^= generator >> 27;
  uint32_t random = (uint32_t)((generator * 0x2545f4914f6cdd1du) >> 32);
  return (uint32_t)(((uint64_t)random * limit) >> 32);
}

static inline void *must(void *block) {
  if (block == NULL) {
    fputs("out of memory\n", stderr);
    abort();
  }
  return block;
}

/* Writes where a user would: the first and the last byte. */
static inline void *touch(void *block, size_t size) {
  unsigned char *bytes = must(block);
  bytes[0] = 1;
  bytes[size - 1] = 2;
  return block;
}

#endif
