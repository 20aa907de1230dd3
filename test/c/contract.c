/* The contract of a process's malloc family, told from inside the process. Usage: contract [NAME…]
 *
 * It asks whatever malloc the dynamic loader bound, so it is one program for every shim: preload the shim and run
 * it. It knows nothing of the allocators. glibc's own malloc breaks the contract where the contract differs from it
 * on purpose (realloc(p, 0) frees there): test/shim.test.ts holds that as proof that the checks bite. */
#define _GNU_SOURCE
#include "check.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void (*sized_free)(void *, size_t);
void (*aligned_sized_free)(void *, size_t, size_t);
void (*old_free)(void *);

static jmp_buf out;
static char reason[512];
static const char *running = "start";

enum { FAILED = 1, SKIPPED };
enum { TABLES = 4 };

_Noreturn void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  longjmp(out, FAILED);
}

_Noreturn void skip(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  longjmp(out, SKIPPED);
}

size_t repeated(size_t count) {
  const char *operations = getenv("CONTRACT_OPERATIONS");
  size_t fewer = operations ? count * strtoull(operations, NULL, 0) / 1000000 : count;
  return fewer ? fewer : 1;
}

static uint64_t pattern(uint64_t tag, size_t place) { return (tag ^ place) * 0x9E3779B97F4A7C15ull; }

void fill(void *block, size_t size, uint64_t tag) {
  char *bytes = block;
  size_t place = 0;
  for (; place + 8 <= size; place += 8) {
    uint64_t word = pattern(tag, place);
    memcpy(bytes + place, &word, 8);
  }
  uint64_t word = pattern(tag, place);
  memcpy(bytes + place, &word, size - place);
}

int holds(const void *block, size_t size, uint64_t tag) {
  const char *bytes = block;
  size_t place = 0;
  for (; place + 8 <= size; place += 8) {
    uint64_t word = pattern(tag, place), found;
    memcpy(&found, bytes + place, 8);
    if (found != word) return 0;
  }
  uint64_t word = pattern(tag, place);
  return memcmp(bytes + place, &word, size - place) == 0;
}

/* A crash is the running check's failure, and the end: nothing can be told of a broken heap. */
static void crashed(int number) {
  static char line[256];
  int length = snprintf(line, sizeof line, "not ok %s: signal %d\n", running, number);
  if (write(STDOUT_FILENO, line, (size_t)length) < 0) _exit(3);
  _exit(1);
}

static int selected(const char *name, int count, char **names) {
  if (count == 0) return 1;
  for (int i = 0; i < count; i++)
    if (strcmp(name, names[i]) == 0) return 1;
  return 0;
}

int main(int argc, char **argv) {
  static char buffer[4096];
  setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
  int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGTRAP};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], crashed);
  sized_free = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
  aligned_sized_free = (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
  old_free = (void (*)(void *))dlsym(RTLD_DEFAULT, "cfree");

  const struct check *tables[TABLES] = {family_checks, errno_checks, thread_checks, model_checks};
  int planned = 0;
  for (size_t t = 0; t < TABLES; t++)
    for (const struct check *check = tables[t]; check->name; check++)
      planned += selected(check->name, argc - 1, argv + 1);
  printf("1..%d\n", planned);
  volatile int failures = 0;
  for (volatile size_t t = 0; t < TABLES; t++)
    for (const struct check *volatile check = tables[t]; check->name; check++) {
      if (!selected(check->name, argc - 1, argv + 1)) continue;
      running = check->name;
      switch (setjmp(out)) {
      case 0:
        check->run();
        printf("ok %s\n", running);
        break;
      case SKIPPED:
        printf("skip %s: %s\n", running, reason);
        break;
      default:
        printf("not ok %s: %s\n", running, reason);
        failures = failures + 1;
      }
    }
  return planned == 0 || failures != 0;
}
