/* A thread that waits for an event, beside the thread of idle release. The argument says what happens meanwhile:
 *
 *   freed      another thread frees what the waiting one has allocated, and waits until the process has lost three quarters of
 *              what it had in memory at its largest
 *   timeout    nothing, until the time is over
 *   event      an event comes later than the thread first wakes
 *   signal     a signal comes then
 *   masked     a signal comes then that only the call itself lets through
 *   cancelled  the thread is cancelled
 *   wrong      there is no such descriptor */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Says which line does not hold, and ends the process. */
#define CHECK(condition) \
  do { \
    if (!(condition)) fprintf(stderr, "%d: %s\n", __LINE__, #condition), exit(1); \
  } while (0)

/* Between the first time that the thread wakes and the second. */
enum { LATER = 700000, BLOCKS = 4 << 10, SIZE = 64 << 10 };

static char *blocks[BLOCKS];
static int loop, event, was_cleaned;
static volatile sig_atomic_t signals;

static void on_signal(int signal) { signals += signal == SIGALRM; }

/* Waits until the thread is in epoll_wait(2) or epoll_pwait(2). */
static void until_it_waits(int thread) {
  char path[64];
  long call;
  snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread);
  do {
    call = -1;
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    /* It says `running` of a thread that is in no call. */
    if (fscanf(file, "%ld", &call) != 1) call = -1;
    fclose(file);
    sched_yield();
  } while (call != SYS_epoll_pwait
#ifdef SYS_epoll_wait
           && call != SYS_epoll_wait
#endif
  );
}

static void *free_all(void *waiting) {
  struct rusage usage;
  long pages;
  until_it_waits((int)(size_t)waiting);
  for (int at = 0; at < BLOCKS; at++) free(blocks[at]);
  do {
    usleep(50000);
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%*d %ld", &pages) == 1);
    fclose(statm);
    getrusage(RUSAGE_SELF, &usage);
  } while (pages * (getpagesize() / 1024) > usage.ru_maxrss / 4);
  CHECK(eventfd_write(event, 1) == 0);
  return NULL;
}

static void *nothing(void *_) { return _; }

static void clean(void *was) { *(int *)was = 1; }

static void *wait_for_ever(void *thread) {
  struct epoll_event found;
  pthread_cleanup_push(clean, &was_cleaned);
  __atomic_store_n((int *)thread, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
  epoll_wait(loop, &found, 1, -1);
  pthread_cleanup_pop(0);
  return NULL;
}

static pthread_t make(void *routine(void *), void *argument) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, routine, argument) == 0);
  return thread;
}

static void alarm_later(void) {
  signal(SIGALRM, on_signal);
  struct itimerval later = {.it_value.tv_usec = LATER};
  CHECK(setitimer(ITIMER_REAL, &later, NULL) == 0);
}

int main(int count, char **arguments) {
  const char *const what = arguments[count - 1];
  struct epoll_event wanted = {.events = EPOLLIN}, found;
  CHECK((loop = epoll_create1(0)) >= 0 && (event = eventfd(0, 0)) >= 0);
  CHECK(epoll_ctl(loop, EPOLL_CTL_ADD, event, &wanted) == 0);
  /* The thread of idle release starts here. */
  pthread_join(make(nothing, NULL), NULL);

  if (strcmp(what, "freed") == 0) {
    for (int at = 0; at < BLOCKS; at++) {
      CHECK((blocks[at] = malloc(SIZE)) != NULL);
      memset(blocks[at], 1, SIZE);
    }
    pthread_t other = make(free_all, (void *)(size_t)getpid());
    CHECK(epoll_wait(loop, &found, 1, -1) == 1);
    pthread_join(other, NULL);
  } else if (strcmp(what, "timeout") == 0) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    CHECK(epoll_wait(loop, &found, 1, 1500) == 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    CHECK((to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec >= 1500000000);
    CHECK(epoll_pwait(loop, &found, 1, 0, NULL) == 0);
  } else if (strcmp(what, "event") == 0) {
    struct itimerspec later = {.it_value.tv_nsec = LATER * 1000L};
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    wanted.data.fd = timer;
    CHECK(timerfd_settime(timer, 0, &later, NULL) == 0 && epoll_ctl(loop, EPOLL_CTL_ADD, timer, &wanted) == 0);
    CHECK(epoll_wait(loop, &found, 1, -1) == 1 && found.data.fd == timer);
  } else if (strcmp(what, "signal") == 0) {
    alarm_later();
    CHECK(epoll_wait(loop, &found, 1, -1) == -1 && errno == EINTR && signals == 1);
  } else if (strcmp(what, "masked") == 0) {
    sigset_t all, none;
    sigfillset(&all), sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    alarm_later();
    CHECK(epoll_pwait(loop, &found, 1, -1, &none) == -1 && errno == EINTR && signals == 1);
  } else if (strcmp(what, "cancelled") == 0) {
    static int id;
    void *result = NULL;
    pthread_t thread = make(wait_for_ever, &id);
    while (__atomic_load_n(&id, __ATOMIC_ACQUIRE) == 0) sched_yield();
    until_it_waits(id);
    CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED && was_cleaned);
  } else if (strcmp(what, "wrong") == 0) {
    CHECK(epoll_wait(-1, &found, 1, -1) == -1 && errno == EBADF);
  } else {
    return 2;
  }
  return 0;
}
