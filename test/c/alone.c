// A process that must be alone, with the background threads of jemalloc in it, which it has once it has freed something.
// Says how many threads it has before, what the call says, how many threads it has after, and whether jemalloc has them on.

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/capability.h>
#include <sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

extern int capset(cap_user_header_t header, const cap_user_data_t data);

/** 0 without /proc. */
static int threads(void) {
  DIR *tasks = opendir("/proc/self/task");
  int count = 0;
  if (tasks == NULL) return 0;
  for (struct dirent *task; (task = readdir(tasks)) != NULL;) count += task->d_name[0] != '.';
  closedir(tasks);
  return count;
}

static bool is_clone; // a child of clone(2), in which glibc still counts its parent's threads

/** Without the one capability, in all threads: how many may still do what it allows. */
static int drop(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0) return -1;
  data[0].effective &= ~(1u << CAP_NET_RAW);
  if (capset(&header, data) != 0) return -1;
  DIR *tasks = opendir("/proc/self/task");
  if (tasks == NULL) return is_clone ? 0 : setuid(65534); // in all threads, or glibc ends the process
  int able = 0;
  for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
    if (task->d_name[0] == '.') continue;
    header.pid = 0;
    sscanf(task->d_name, "%d", &header.pid);
    syscall(SYS_capget, &header, data);
    able += (data[0].effective & (1u << CAP_NET_RAW)) != 0;
  }
  closedir(tasks);
  return able;
}

static int child(long pid) {
  int status = 0;
  if (pid < 0 || waitpid((pid_t)pid, &status, 0) < 0) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/** Has the allocator get so many MiB of pages back. free(3) leaves errno alone, whatever comes of it. */
static int free_some(int mebibytes) {
  errno = 0;
  for (int i = 0; i < mebibytes; i++) {
    char *volatile block = malloc(1 << 20);
    if (block != NULL) memset(block, 1, 1 << 20);
    free(block);
  }
  if (errno != 0) abort();
  return 0;
}

/** That many that it has use for a thread. */
static int give_back(void) { return free_some(64); }

/** How many threads a forked child has that frees so much. */
static int forked(int mebibytes) {
  pid_t pid = fork();
  if (pid == 0) {
    free_some(mebibytes);
    _exit(threads());
  }
  return child(pid);
}

/** What it may still do in all threads of a child of clone(2), for which no handler of fork(2) runs. */
static int drop_in_clone(int flags, void (*before)(void)) {
  long pid = syscall(SYS_clone, SIGCHLD | flags, 0, 0, 0, 0);
  if (pid == 0) {
    is_clone = true;
    if (before != NULL) before();
    _exit(drop());
  }
  return child(pid);
}

/** From here on no thread can be made, or that many processes and threads. */
static void limit_threads(rlim_t most) {
  struct rlimit limit;
  getrlimit(RLIMIT_NPROC, &limit);
  limit.rlim_cur = most < limit.rlim_max ? most : limit.rlim_max;
  setrlimit(RLIMIT_NPROC, &limit);
}

/** What capset(2) says of a structure that is none. */
static int refused(void) {
  struct __user_cap_header_struct header = {0, 0};
  errno = 0;
  return capset(&header, NULL) == -1 ? errno : 0;
}

/** How often of many times it is refused what one thread alone may. */
static int again_and_again(void) {
  int refused = 0;
  for (int i = 0; i < 500; i++) refused += unshare(CLONE_THREAD) != 0;
  return refused;
}

/** A filter of system calls that lets all pass. */
static void confine(void) {
  struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {1, &all};
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

/** Enters the user namespace of a child. */
static int enter_user(int kind) {
  int ready[2], end[2];
  char byte = 0, name[64];
  if (pipe(ready) != 0 || pipe(end) != 0) return -1;
  pid_t pid = fork();
  if (pid == 0) {
    close(end[1]);
    _exit(unshare(CLONE_NEWUSER) != 0 || write(ready[1], &byte, 1) != 1 || read(end[0], &byte, 1) != 0);
  }
  close(ready[1]);
  if (read(ready[0], &byte, 1) != 1) return -1;
  snprintf(name, sizeof name, "/proc/%d/ns/user", (int)pid);
  int result = setns(open(name, O_RDONLY), kind);
  close(end[1]);
  return child(pid) == 0 ? result : -1;
}

static void *nothing(void *unused) { return unused; }

static int make_thread(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0) return 1;
  while (threads() > 2) sched_yield(); // the kernel counts it a moment longer
  return 0;
}

typedef int (*control)(const char *, void *, size_t *, void *, size_t);
typedef int (*control_by_mib)(const size_t *, size_t, void *, size_t *, void *, size_t);
typedef int (*find)(const char *, size_t *, size_t *);

/** By the program's own word. */
static void want_threads(void) {
  control mallctl = (control)dlsym(RTLD_DEFAULT, "mallctl");
  bool on = true;
  if (mallctl("background_thread", NULL, NULL, &on, sizeof on) != 0) abort();
}

int main(int count, char **arguments) {
  static const char *how = ""; // a child of vfork shares the stack
  if (count > 1) how = arguments[1];
  control mallctl = (control)dlsym(RTLD_DEFAULT, "mallctl");
  control_by_mib mallctlbymib = (control_by_mib)dlsym(RTLD_DEFAULT, "mallctlbymib");
  find mallctlnametomib = (find)dlsym(RTLD_DEFAULT, "mallctlnametomib");
  bool enabled = false, off = false, on = true;
  size_t size = sizeof enabled, mib[4] = {0}, length = 4;

  // What comes before it has freed anything.
  if (strcmp(how, "small") == 0) free_some(3);
  else if (strcmp(how, "frees enough") == 0) free_some(5);
  else if (strcmp(how, "forks, small") == 0) free_some(3);
  else if (strcmp(how, "clone that wants them") == 0) how = "wants";
  else if (strcmp(how, "confined by a filter") == 0) confine(), give_back();
  else if (strcmp(how, "forks, confined") == 0) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  else if (strcmp(how, "forks, unwanted") == 0) mallctl("background_thread", NULL, NULL, &off, sizeof off);
  else if (strcmp(how, "limit lifted") == 0) {
    // No thread can be made, and then it can. One that the allocator makes in free(3) could wait for this one.
    if (make_thread() == 0) return 1;
    limit_threads(RLIM_INFINITY);
    give_back();
  }
  else if (strcmp(how, "confined") == 0) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), give_back();
  else if (strcmp(how, "thread") == 0) make_thread();
  else if (strcmp(how, "C thread") == 0) {
    thrd_t thread;
    if (thrd_create(&thread, (thrd_start_t)(void *)nothing, NULL) != thrd_success) return 1;
    thrd_join(thread, NULL);
    while (threads() > 2) sched_yield();
  }
  else if (strcmp(how, "wanted") == 0) mallctl("background_thread", NULL, NULL, &on, sizeof on);
  else if (strcmp(how, "unwanted") == 0) mallctl("background_thread", NULL, NULL, &off, sizeof off), give_back();
  else if (strcmp(how, "unwanted by number") == 0) {
    mallctlnametomib("background_thread", mib, &length);
    mallctlbymib(mib, length, NULL, NULL, &off, sizeof off);
    give_back();
  } else if (strcmp(how, "vfork that frees") == 0) {
    pid_t pid = vfork();
    if (pid == 0) _exit(give_back());
    if (child(pid) != 0 || threads() != 1) return 1;
    give_back();
  } else if (strcmp(how, "reset") == 0) {
    // jemalloc frees what is in an arena under the lock that it starts its threads under.
    unsigned arena = 0;
    size = sizeof arena;
    size_t one = 1; // a further arena would have a thread of its own, some time
    mallctl("max_background_threads", NULL, NULL, &one, sizeof one);
    mallctl("arenas.create", &arena, &size, NULL, 0);
    void *(*mallocx)(size_t, int) = (void *(*)(size_t, int))dlsym(RTLD_DEFAULT, "mallocx");
    for (int i = 0; i < 64; i++) mallocx(1 << 20, (int)((arena + 1) << 20 | 1 << 8)); // MALLOCX_ARENA, MALLOCX_TCACHE_NONE
    mallctlnametomib("arena.0.reset", mib, &length);
    mib[1] = arena;
    if (mallctlbymib(mib, length, NULL, NULL, NULL, 0) != 0 || threads() != 1) return 1;
    free(malloc(1 << 20));
  } else give_back();

  int before = threads(), result = -1;
  if (strcmp(how, "user") == 0) result = unshare(CLONE_NEWUSER);
  if (strcmp(how, "pid") == 0) result = unshare(CLONE_NEWUSER | CLONE_NEWPID);
  if (strcmp(how, "nonsense") == 0) result = unshare(CLONE_NEWUSER | CLONE_NEWPID | 1);
  if (strcmp(how, "again and again") == 0) result = again_and_again();
  if (strcmp(how, "capset") == 0) result = drop();
  if (strcmp(how, "capset at the limit") == 0) limit_threads(1), result = drop();
  if (strcmp(how, "refused at the limit") == 0) limit_threads(1), result = refused();
  if (strcmp(how, "setns") == 0) result = enter_user(CLONE_NEWUSER);
  if (strcmp(how, "setns of any kind") == 0) result = enter_user(0);
  if (strcmp(how, "capset in a clone") == 0) result = drop_in_clone(0, NULL);
  if (strcmp(how, "capset in a namespace") == 0) result = drop_in_clone(CLONE_NEWPID, NULL);
  if (strcmp(how, "wants") == 0) result = drop_in_clone(0, want_threads);
  if (strcmp(how, "forks, small") == 0) result = forked(2);
  if (strncmp(how, "forks, ", 7) == 0 && strcmp(how, "forks, small") != 0) result = forked(64);
  if (strcmp(how, "limit lifted") == 0) result = make_thread();
  if (strcmp(how, "clone") == 0) {
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) _exit(unshare(CLONE_NEWUSER) != 0);
    result = child(pid);
  }
  if (strcmp(how, "vfork") == 0) {
    pid_t pid = vfork();
    if (pid == 0) _exit(unshare(CLONE_NEWUSER) != 0);
    result = child(pid);
  }
  size = sizeof enabled;
  if (mallctl != NULL) mallctl("background_thread", &enabled, &size, NULL, 0);
  printf("%d %d %d %s\n", before, result, threads(), enabled ? "on" : "off");
  return 0;
}
