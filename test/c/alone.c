// A process that must be alone, with the background threads of jemalloc in it, which it has once it has freed something.
// Says how many threads it has before, what the call says, how many threads it has after, and whether jemalloc has them on.

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <linux/capability.h>
#include <sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

/** Without the one capability, in all threads: how many may still do what it allows. */
static int drop(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0) return -1;
  data[0].effective &= ~(1u << CAP_NET_RAW);
  if (capset(&header, data) != 0) return -1;
  DIR *tasks = opendir("/proc/self/task");
  if (tasks == NULL) return setuid(65534); // in all threads, or glibc ends the process
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

/** Has the allocator get so many pages back that it has use for a thread. */
static int give_back(void) {
  for (int i = 0; i < 64; i++) {
    char *volatile block = malloc(1 << 20);
    if (block != NULL) memset(block, 1, 1 << 20);
    free(block);
  }
  return 0;
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

int main(int count, char **arguments) {
  static const char *how = ""; // a child of vfork shares the stack
  if (count > 1) how = arguments[1];
  control mallctl = (control)dlsym(RTLD_DEFAULT, "mallctl");
  control_by_mib mallctlbymib = (control_by_mib)dlsym(RTLD_DEFAULT, "mallctlbymib");
  find mallctlnametomib = (find)dlsym(RTLD_DEFAULT, "mallctlnametomib");
  bool enabled = false, off = false, on = true;
  size_t size = sizeof enabled, mib[4] = {0}, length = 4;

  // What comes before it has freed anything.
  if (strcmp(how, "small") == 0) how = "";
  else if (strcmp(how, "confined") == 0) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), give_back();
  else if (strcmp(how, "thread") == 0) make_thread();
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
  if (strcmp(how, "capset") == 0) result = drop();
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
