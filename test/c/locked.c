// Locks its memory, uses 20 MiB of malloc's, and says what is resident and what is locked: `rss kB locked kB`.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static long kilobytes(const char *name) {
  char line[256];
  long value = -1;
  FILE *status = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, status))
    if (strncmp(line, name, strlen(name)) == 0) value = atol(line + strlen(name));
  fclose(status);
  return value;
}

int main(void) {
  // Where memory runs out, this program is the one to go.
  FILE *score = fopen("/proc/self/oom_score_adj", "w");
  if (score) {
    fputs("1000", score);
    fclose(score);
  }
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    perror("mlockall");
    return 1;
  }
  char *block = malloc(20 << 20);
  memset(block, 1, 20 << 20);
  printf("rss %ld locked %ld\n", kilobytes("VmRSS:"), kilobytes("VmLck:"));
  free(block);
  // Not even bits that there are none of are taken for others.
  return mlockall(1 << 20) == -1 && munlockall() == 0 ? 0 : 2;
}
