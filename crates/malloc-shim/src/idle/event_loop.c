/* See event_loop.rs. This is C because a thread may be cancelled while it waits: the cancellation unwinds the stack, and code in
 * Rust that is built to abort lets nothing through. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>

/* The thread wakes after each of these times, in milliseconds. From then on it waits as the program wants. */
static const int NAPS[] = {400, 800, 1600};

bool malloc_backend_has_naps(void);
void malloc_backend_collect(void);

/* libc's own. Where one is called, so is the other of the same name: a filter of system calls may forbid one of them. */
int (*malloc_backend_own_epoll_wait)(int epoll, struct epoll_event *events, int most, int timeout);
int (*malloc_backend_own_epoll_pwait)(int epoll, struct epoll_event *events, int most, int timeout, const sigset_t *mask);

struct wait {
  int epoll;
  struct epoll_event *events;
  int most;
  bool is_masked;
  const sigset_t *mask;
};

static inline int wait_once(const struct wait *wait, int timeout) {
  if (wait->is_masked)
    return malloc_backend_own_epoll_pwait(wait->epoll, wait->events, wait->most, timeout, wait->mask);
  return malloc_backend_own_epoll_wait(wait->epoll, wait->events, wait->most, timeout);
}

/* Waits as long as the program wants: in milliseconds, or without end where that is negative. */
static inline int wait_with_naps(const struct wait *wait, int timeout) {
  for (size_t at = 0; at < sizeof NAPS / sizeof *NAPS; at++) {
    const bool is_short = timeout >= 0 && timeout <= NAPS[at];
    if (is_short || !malloc_backend_has_naps()) break;
    const int found = wait_once(wait, NAPS[at]);
    if (found != 0) return found;
    malloc_backend_collect();
    if (timeout >= 0) timeout -= NAPS[at];
  }
  return wait_once(wait, timeout);
}

int malloc_backend_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
  return wait_with_naps(&(struct wait){epoll, events, most, false, NULL}, timeout);
}

int malloc_backend_epoll_pwait(int epoll, struct epoll_event *events, int most, int timeout, const sigset_t *mask) {
  return wait_with_naps(&(struct wait){epoll, events, most, true, mask}, timeout);
}
