/* steps PROGRAM ARGUMENT…: lets the program run until it stops itself, then counts its instructions by single
 * steps, and prints their number. Slow, so for short loops: for snmalloc, which reserves more address space than
 * valgrind has to give. */
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  pid_t pid = fork();
  if (pid == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    execvp(argv[1], argv + 1);
    _exit(127);
  }
  unsigned long count = 0;
  int stopped = 0, status;
  while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
    stopped |= WSTOPSIG(status) == SIGSTOP;
    count += (unsigned long)stopped;
    ptrace(stopped ? PTRACE_SINGLESTEP : PTRACE_CONT, pid, NULL, NULL);
  }
  printf("%lu\n", count);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
