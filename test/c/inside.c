/* What a program sees of the shim that serves it. Usage: inside QUESTION…; answers are lines `key=value`. */
#define _GNU_SOURCE
#include "../../crates/malloc-shim/include/malloc_backend_shim.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* musl has no such way to open a library: there nobody asks for it. */
#ifndef RTLD_DEEPBIND
#define RTLD_DEEPBIND 0
#endif

typedef const struct malloc_backend_shim *entry(void);

/* By dlsym and not by a weak reference: so that it says what a program does that was never built for it. */
static const struct malloc_backend_shim *shim(void) {
  entry *found = (entry *)dlsym(RTLD_DEFAULT, "malloc_backend_shim");
  if (!found) {
    puts("shim=none");
    exit(0);
  }
  return found();
}

static void figure(const char *name, uint64_t value) {
  if (value == MALLOC_BACKEND_ABSENT) printf("%s=absent\n", name);
  else printf("%s=%" PRIu64 "\n", name, value);
}

static void identity(void) {
  const struct malloc_backend_shim *s = shim();
  printf("abi=%u\nsize=%u\nown_size=%zu\nbackend=%s\nversion=%s\npath=%s\n", s->abi, s->size, sizeof *s, s->backend,
         s->version, s->path());
}

/* The file whose malloc (free, …) the process has. */
static void owner(void) {
  static const char *const names[] = {"malloc", "free", "calloc", "realloc", "posix_memalign", "malloc_usable_size"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    Dl_info found;
    char path[PATH_MAX];
    void *address = dlsym(RTLD_DEFAULT, names[i]);
    if (!address || !dladdr(address, &found) || !realpath(found.dli_fname, path)) strcpy(path, "?");
    printf("%s=%s\n", names[i], path);
  }
}

static void environment(void) {
  const char *preload = getenv("LD_PRELOAD");
  printf("preload=%s\n", preload ? preload : "(unset)");
  for (char **entry = environ; *entry; entry++)
    if (strncmp(*entry, "MALLOC_BACKEND_", 15) == 0) printf("left=%s\n", *entry);
}

/* Every open descriptor but the three and the folder's own. */
static void descriptors(void) {
  DIR *folder = opendir("/proc/self/fd");
  struct dirent *entry;
  while ((entry = readdir(folder)))
    if (atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(folder)) printf("descriptor.%s=open\n", entry->d_name);
  closedir(folder);
}

static void statistics(const char *when) {
  char name[64];
  struct malloc_backend_stats s;
  memset(&s, 0x55, sizeof s);
  shim()->stats(&s);
  const struct {
    const char *name;
    uint64_t value;
  } figures[] = {{"allocated", s.allocated}, {"active", s.active}, {"metadata", s.metadata},
                 {"resident", s.resident},   {"mapped", s.mapped}, {"retained", s.retained}};
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
    snprintf(name, sizeof name, "%s.%s", when, figures[i].name);
    figure(name, figures[i].value);
  }
}

enum { BLOCKS = 4096, BLOCK = 32768 }; /* 128 MiB in all */
static char *blocks[BLOCKS];

static void *occupy(void *unused) {
  for (size_t i = 0; i < BLOCKS; i++) memset(blocks[i] = malloc(BLOCK), 1, BLOCK);
  return unused;
}

static void vacate(void) {
  for (size_t i = 0; i < BLOCKS; i++) free(blocks[i]);
}

static void stats(void) {
  statistics("before");
  occupy(NULL);
  statistics("occupied");
  vacate();
  statistics("after");
}

static uint64_t resident(void) {
  unsigned long size = 0, pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%lu %lu", &size, &pages) != 2) exit(3);
  fclose(file);
  return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A spike, in this thread or in one that has ended since, and how much of it the system has back before and after. */
static void release(int threaded) {
  figure("start", resident());
  if (threaded) {
    pthread_t thread;
    pthread_create(&thread, NULL, occupy, NULL);
    pthread_join(thread, NULL);
  } else {
    occupy(NULL);
  }
  figure("occupied", resident());
  vacate();
  figure("vacated", resident());
  errno = 4711;
  shim()->collect_thread(0);
  int result = shim()->release();
  shim()->collect_thread(1);
  printf("result=%d\nerrno=%d\n", result, errno);
  figure("released", resident());
  occupy(NULL);
  vacate();
}

static void keep(void *into, const char *text) { strncat(into, text, 65535 - strlen(into)); }

#define CALL(name, type, ...) ((type)need(name))(__VA_ARGS__)

static void *need(const char *name) {
  void *found = dlsym(RTLD_DEFAULT, name);
  if (!found) {
    printf("missing=%s\n", name);
    exit(1);
  }
  return found;
}

typedef int ctl_fn(const char *, void *, size_t *, void *, size_t);

/* jemalloc(3)'s non-standard interface. Its flags: the low six bits are the logarithm of the alignment. */
static void jemalloc(void) {
  enum { ALIGN_4096 = 12, ZERO = 0x40 };
  ctl_fn *ctl = (ctl_fn *)need("mallctl");
  const char *version = NULL;
  size_t size = sizeof version;
  printf("version.result=%d\n", ctl("version", &version, &size, NULL, 0));
  printf("version=%s\n", version);
  unsigned arenas = 0;
  size = sizeof arenas;
  printf("narenas.result=%d\n", ctl("opt.narenas", &arenas, &size, NULL, 0));
  printf("narenas=%u\n", arenas);
  printf("purge.result=%d\n", ctl("arena.4096.purge", NULL, NULL, NULL, 0));
  printf("unknown.result=%d\n", ctl("no.such.name", NULL, NULL, NULL, 0));

  size_t mib[4], length = 4, value = 0;
  size = sizeof value;
  printf("mib.result=%d\n", CALL("mallctlnametomib", int (*)(const char *, size_t *, size_t *), "arenas.page", mib, &length));
  printf("bymib.result=%d\n", CALL("mallctlbymib", int (*)(const size_t *, size_t, void *, size_t *, void *, size_t), mib,
                                  length, &value, &size, NULL, 0));
  printf("page=%zu\n", value);

  size_t nominal = CALL("nallocx", size_t(*)(size_t, int), 5000, ALIGN_4096);
  char *block = CALL("mallocx", void *(*)(size_t, int), 5000, ALIGN_4096 | ZERO);
  int zeroed = 1;
  for (size_t i = 0; i < 5000; i++) zeroed &= block[i] == 0;
  printf("mallocx=%s\n", zeroed && (uintptr_t)block % 4096 == 0 ? "aligned and zeroed" : "wrong");
  printf("sallocx=%s\n", CALL("sallocx", size_t(*)(const void *, int), block, 0) == nominal ? "nallocx" : "other");
  block[4999] = 7;
  block = CALL("rallocx", void *(*)(void *, size_t, int), block, 20000, ZERO);
  printf("rallocx=%s\n", block[4999] == 7 && block[19999] == 0 ? "kept and zeroed" : "wrong");
  printf("xallocx=%s\n", CALL("xallocx", size_t(*)(void *, size_t, size_t, int), block, 20000, 0, 0) >= 20000 ? "ok" : "less");
  CALL("dallocx", void (*)(void *, int), block, 0);
  block = CALL("mallocx", void *(*)(size_t, int), 100, 0);
  CALL("sdallocx", void (*)(void *, size_t, int), block, 100, 0);
  free(CALL("mallocx", void *(*)(size_t, int), 100, 0)); /* the same heap */

  /* Of one class, whoever allocates: sdallocx goes by the size that it is told. */
  int small = 1;
  for (size_t size = 1; size <= 8; size++) {
    size_t usable = CALL("nallocx", size_t(*)(size_t, int), size, 0);
    void *blocks[] = {malloc(size), calloc(1, size), realloc(NULL, size), aligned_alloc(8, 8),
                      CALL("mallocx", void *(*)(size_t, int), size, 0)};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
      small &= (uintptr_t)blocks[i] % 16 == 0 && malloc_usable_size(blocks[i]) == usable;
      CALL("sdallocx", void (*)(void *, size_t, int), blocks[i], size, 0);
    }
  }
  printf("small=%s\n", small ? "of 16 bytes" : "of several classes");

  static char text[65536];
  CALL("malloc_stats_print", void (*)(void (*)(void *, const char *), void *, const char *), keep, text, "g");
  printf("stats=%s\n", strstr(text, "jemalloc statistics") ? "jemalloc statistics" : "other");
}

/* A library that binds to its own dependencies first: its malloc is the C library's. */
static void deep(const char *file, const char *what) {
  void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  if (!library) {
    printf("dlopen=%s\n", dlerror());
    exit(1);
  }
  const char *(*call)(void) = (const char *(*)(void))dlsym(library, what);
  printf("%s=%s\n", what, call());
  dlclose(library);
}

/* Starts a program that is to report to a descriptor 3 that nobody reads from. */
static void deaf(char **argv) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || dup2(ends[1], 3) != 3) exit(3);
  if (ends[0] != 3) close(ends[0]);
  if (ends[1] != 3) close(ends[1]);
  char report[32];
  snprintf(report, sizeof report, "3:%d", (int)getpid());
  setenv("MALLOC_BACKEND_REPORT", report, 1);
  execvp(*argv, argv);
  exit(127);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *question = argv[i];
    if (strcmp(question, "identity") == 0) identity();
    else if (strcmp(question, "owner") == 0) owner();
    else if (strcmp(question, "environment") == 0) environment();
    else if (strcmp(question, "descriptors") == 0) descriptors();
    else if (strcmp(question, "stats") == 0) stats();
    else if (strcmp(question, "release") == 0) release(0);
    else if (strcmp(question, "release-threaded") == 0) release(1);
    else if (strcmp(question, "jemalloc") == 0) jemalloc();
    else if (strcmp(question, "deep") == 0 && i + 2 < argc) deep(argv[i + 1], argv[i + 2]), i += 2;
    else if (strcmp(question, "deaf") == 0 && i + 1 < argc) deaf(argv + i + 1);
    else if (strcmp(question, "exec") == 0 && i + 1 < argc) execvp(argv[i + 1], argv + i + 1), exit(127);
    else return 2;
    fflush(stdout);
  }
  return 0;
}
