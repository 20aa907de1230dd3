/* Forks while other threads allocate, and allocates in the child. Usage: fork FORKS PATIENCE [churn]
 *
 * A lock of the allocator that another thread holds at the fork stays locked in the child for ever, unless the
 * allocator takes care of it: then the child hangs at its first need of that lock. Such a child is named on stdout
 * ("hang <pid>") and left alone until a line comes on stdin, so that a debugger can look; then it is killed. A child
 * hangs that has used no processor time at PATIENCE looks in a row, one a second, or PATIENCE seconds of it: on a loaded
 * machine all takes longer, but for that.
 *
 * Blocks are small, because a fork copies the page tables. With `churn` the threads end and are begun anew all the
 * time, which takes the locks of threads' beginnings and ends. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, OWN = 32, SHARED = 64, INHERITED = 64 };

static _Atomic(char *) shared[SHARED];
static char *inherited[INHERITED];
static atomic_int churning;

static uint64_t next_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 0x2545F4914F6CDD1Dull;
}

/* Mostly what a thread's cache serves; enough of the rest to reach for the shared structures behind it. */
static size_t random_size(uint64_t random) {
  if (random % 256 == 0) return random & 256 ? 1 << 17 : 1 << 22;
  if (random % 64 == 0) return random >> 8 & 0x7FFF;
  return random >> 8 & 0x1FF;
}

static char *obtain(uint64_t random) {
  size_t size = random_size(random);
  char *block = size > 1 << 16 || random >> 50 & 1 ? malloc(size + 1) : calloc(1, size + 1);
  if (!block) abort();
  block[0] = block[size] = 1;
  return block;
}

static void turn(uint64_t *state, char **own) {
  uint64_t random = next_random(state);
  size_t place = random >> 40 & (OWN - 1);
  if (random >> 60 < 4) {
    free(atomic_exchange(&shared[random >> 32 & (SHARED - 1)], obtain(random))); /* another thread's block */
  } else if (random >> 60 < 6) {
    own[place] = realloc(own[place], random_size(random) + 1);
  } else {
    free(own[place]);
    own[place] = obtain(random);
  }
}

/* The forks and their children get the processor; a thread that waits for it while it holds a lock is welcome. */
static void step_back(void) {
  setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);
}

static void *allocate(void *seed) {
  step_back();
  uint64_t state = (uintptr_t)seed * 0x9E3779B97F4A7C15ull;
  char *own[OWN] = {0};
  for (int i = 0; !churning || i < 2000; i++) turn(&state, own);
  for (size_t i = 0; i < OWN; i++) free(own[i]);
  return NULL;
}

/* Keeps one thread at work that lives for a moment only. */
static void *replace(void *seed) {
  for (uintptr_t i = (uintptr_t)seed;; i += THREADS) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, allocate, (void *)i) == 0) pthread_join(thread, NULL);
  }
  return NULL;
}

static void *child_thread(void *unused) {
  char *own[OWN] = {0};
  uint64_t state = 77;
  for (int i = 0; i < 200; i++) turn(&state, own);
  for (size_t i = 0; i < OWN; i++) free(own[i]);
  return unused;
}

/* What a child does: allocates, frees its own and its parent's blocks, now and then with a thread or a child. */
static int child(int number) {
  char *own[OWN] = {0};
  uint64_t state = (uint64_t)number + 1;
  for (int i = 0; i < 200; i++) turn(&state, own);
  for (size_t i = 0; i < OWN; i++) free(own[i]);
  for (size_t i = 0; i < SHARED; i++) free(atomic_exchange(&shared[i], NULL));
  for (size_t i = 0; i < INHERITED; i++) {
    if (inherited[i][i * 17] != (char)i) return 3;
    free(inherited[i]);
  }
  if (number % 8 == 0) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
      if (pthread_create(&threads[i], NULL, child_thread, NULL) != 0) return 4;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  }
  if (number % 64 == 5) {
    pid_t grandchild = fork();
    if (grandchild == 0) _exit(child_thread(NULL) != NULL);
    int status = -1;
    if (waitpid(grandchild, &status, 0) != grandchild || status != 0) return 5;
  }
  return 0;
}

enum { WINDOW = 8 }; /* children at a time */
static struct {
  pid_t pid;
  int number;
  int idle; /* looks in a row at which it had used no more than at the one before */
  struct timespec used;
} children[WINDOW];
static int patience;

/* Whether it is stuck. One that has ended, or begins, has no clock, and is not. */
static int stuck(size_t place) {
  clockid_t clock;
  struct timespec used;
  if (clock_getcpuclockid(children[place].pid, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
  struct timespec before = children[place].used;
  children[place].used = used;
  if (used.tv_sec != before.tv_sec || used.tv_nsec != before.tv_nsec) children[place].idle = 0;
  return ++children[place].idle > patience || used.tv_sec >= patience;
}

_Noreturn static void hangs(pid_t pid, int number) {
  printf("hang %d in fork %d\n", (int)pid, number);
  getchar();
  for (size_t i = 0; i < WINDOW; i++)
    if (children[i].pid) kill(children[i].pid, SIGKILL);
  _exit(1);
}

_Noreturn static void broken(int number, int status) {
  printf("broken: the child of fork %d ended with status %#x\n", number, (unsigned)status);
  fflush(stdout);
  _exit(1);
}

/* Waits until some child has ended, and takes note of all that have; ends the program for one that does not. */
static void reap(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  for (int some = 0; !some;) {
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0; some = 1)
      for (size_t i = 0; i < WINDOW; i++) {
        if (children[i].pid != pid) continue;
        if (status != 0) broken(children[i].number, status);
        children[i].pid = 0;
      }
    static time_t looked;
    for (size_t i = 0; i < WINDOW && time(NULL) != looked; i++)
      if (children[i].pid && stuck(i)) hangs(children[i].pid, children[i].number);
    looked = time(NULL);
    struct timespec second = {1, 0}; /* an upper bound: the signal comes first */
    if (!some) sigtimedwait(&set, NULL, &second);
  }
}

static size_t vacancy(void) {
  for (;;) {
    for (size_t i = 0; i < WINDOW; i++)
      if (!children[i].pid) return i;
    reap();
  }
}

static int remaining(void) {
  for (size_t i = 0; i < WINDOW; i++)
    if (children[i].pid) return 1;
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  int forks = atoi(argv[1]);
  patience = atoi(argv[2]);
  churning = argc > 3 && strcmp(argv[3], "churn") == 0;
  static char buffer[4096];
  setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, NULL); /* before the threads, which inherit it: the signal stays pending for main */

  for (size_t i = 0; i < INHERITED; i++) memset(inherited[i] = malloc(i * 17 + 1), (int)i, i * 17 + 1);
  for (uintptr_t i = 1; i <= THREADS; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, churning ? replace : allocate, (void *)i) != 0) return 2;
  }
  for (int i = 0; i < forks; i++) {
    if (i % 500 == 0) printf("forks %d\n", i);
    size_t place = vacancy();
    pid_t pid = fork();
    if (pid < 0) {
      perror("fork");
      return 2;
    }
    if (pid == 0) {
      int result = child(i);
      if (i % 16 == 3) exit(result); /* with the destructors of the allocator */
      _exit(result);
    }
    children[place].pid = pid, children[place].number = i, children[place].idle = 0;
  }
  while (remaining()) reap();
  printf("done %d\n", forks);
  fflush(stdout);
  _exit(0); /* the threads are at work still */
}
