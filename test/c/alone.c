// A process that must be alone, with the background threads of jemalloc in it. Says how many threads it has before, what
// the call says, and how many threads it has after.

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern int capset(cap_user_header_t header, const cap_user_data_t data);

static int threads(void) {
  DIR *tasks = opendir("/proc/self/task");
  int count = 0;
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

int main(int count, char **arguments) {
  const char *how = count > 1 ? arguments[1] : "";
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
  bool enabled = false;
  size_t size = sizeof enabled;
  int (*mallctl)(const char *, void *, size_t *, void *, size_t);
  *(void **)&mallctl = dlsym(RTLD_DEFAULT, "mallctl");
  if (mallctl != NULL) mallctl("background_thread", &enabled, &size, NULL, 0);
  printf("%d %d %d %s\n", before, result, threads(), enabled ? "on" : "off");
  return 0;
}
