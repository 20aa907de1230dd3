/* free keeps errno, as POSIX.1-2024 demands: callers free on their way out of an error that errno still names. */
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Not an odd number but what callers have in errno: an allocator that retries on EAGAIN must not take it for its own. */
enum { MARK = EAGAIN, MANY = 20000, HOW = 4 };
static const char *const NAMES[HOW] = {"free", "cfree", "free_sized", "free_aligned_sized"};

static const char *available(int how) {
  if (how == 1 && !old_free) return "cfree is missing";
  if (how == 2 && !sized_free) return "free_sized is missing";
  if (how == 3 && !aligned_sized_free) return "free_aligned_sized is missing";
  return NULL;
}

static void *obtain(int how, size_t size) {
  void *block = how == 3 ? aligned_alloc(128, size) : malloc(size);
  if (block) *(volatile char *)block = 1;
  return block;
}

/* The errno after it. */
static int give_back(int how, void *block, size_t size) {
  errno = MARK;
  switch (how) {
  case 0: free(block); break;
  case 1: old_free(block); break;
  case 2: sized_free(block, size); break;
  default: aligned_sized_free(block, 128, size);
  }
  return errno;
}

/* Single blocks of each size, waves that fill and empty the caches behind them, and mapped blocks in a row.
 * Null, or what failed. */
static const char *every_size(int how) {
  static char why[128];
  static const size_t sizes[] = {1, 16, 100, 1000, 5000, 40000, 300000, 1 << 20, 3 << 20, 32 << 20, (size_t)256 << 20};
  static void *wave[MANY];
  int error = MARK;
  size_t size = 0;
  for (size_t i = 0; i < COUNT(sizes) && error == MARK; i++)
    for (int round = 0; round < 50 && error == MARK; round++) {
      size = sizes[i];
      void *block = obtain(how, size);
      if (!block) return "out of memory";
      error = give_back(how, block, size);
    }
  for (size_t i = 0; i < 6 && error == MARK; i++) {
    size = sizes[i];
    size_t count = i < 5 ? MANY : 2000;
    for (size_t j = 0; j < count; j++)
      if (!(wave[j] = obtain(how, size))) return "out of memory";
    for (size_t j = 0; j < count; j++)
      if (give_back(how, wave[j], size) != MARK) error = errno;
  }
  if (error == MARK) return NULL;
  snprintf(why, sizeof why, "%s of %zu bytes set errno to %d", NAMES[how], size, error);
  return why;
}

static void free_errno(void) {
  for (int how = 0; how < HOW; how++) {
    const char *why = available(how);
    if (!why) why = every_size(how);
    expect(!why, "%s", why);
  }
  errno = MARK;
  free(NULL);
  expect(errno == MARK, "free(NULL) set errno to %d", errno);
}

/* From here on the kernel refuses to take memory back. False where it does not let itself be told so. */
static int refuse_to_take_back(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_madvise, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_munmap, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {COUNT(filter), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* madvise and munmap that fail leave an errno behind, if ever one does. In a child: the refusal is for good. */
static void free_errno_refused(void) {
  int report[2];
  char why[256] = "";
  expect(pipe(report) == 0, "pipe");
  pid_t child = fork();
  expect(child >= 0, "fork");
  if (child == 0) {
    signal(SIGPROF, SIG_DFL);
    struct itimerval processor = {{0, 0}, {20, 0}}; /* for one that asks again and again */
    setitimer(ITIMER_PROF, &processor, NULL);
    if (!refuse_to_take_back()) _exit(2);
    for (int how = 0; how < HOW; how++) {
      const char *failure = available(how);
      if (!failure) failure = every_size(how);
      if (!failure) continue;
      if (write(report[1], failure, strlen(failure)) < 0) _exit(3);
      _exit(1);
    }
    _exit(0);
  }
  close(report[1]);
  ssize_t length = read(report[0], why, sizeof why - 1);
  close(report[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) skip("seccomp filters are not allowed here");
  expect(status == 0, "%s (status %#x)", length > 0 ? why : "died", status);
}

const struct check errno_checks[] = {
    {"free-errno", free_errno}, {"free-errno-refused", free_errno_refused}, {NULL, NULL}};
