// An addon that leaks: at once, by growth, and on a thread of the pool. It forks a child that allocates, opens and closes a library, and
// lets a signal come every millisecond. The few declarations of Node-API are here, so that no headers of Node are needed.

#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef struct napi_async_work__ *napi_async_work;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);

int napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
int napi_get_value_uint32(napi_env, napi_value, uint32_t *);
int napi_get_value_string_utf8(napi_env, napi_value, char *, size_t, size_t *);
int napi_create_double(napi_env, double, napi_value *);
int napi_create_string_utf8(napi_env, const char *, size_t, napi_value *);
int napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
int napi_set_named_property(napi_env, napi_value, const char *, napi_value);
int napi_create_async_work(napi_env, napi_value, napi_value, void (*)(napi_env, void *),
                           void (*)(napi_env, int, void *), void *, napi_async_work *);
int napi_queue_async_work(napi_env, napi_async_work);
int napi_delete_async_work(napi_env, napi_async_work);

static uint32_t argument(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value value;
  uint32_t number = 0;
  napi_get_cb_info(env, info, &count, &value, NULL, NULL);
  napi_get_value_uint32(env, value, &number);
  return number;
}

void *volatile leaked;

__attribute__((noinline)) void leak_in_c(size_t size) { leaked = malloc(size); }

static napi_value leak(napi_env env, napi_callback_info info) {
  leak_in_c(argument(env, info));
  return NULL;
}

struct work {
  napi_async_work handle;
  size_t size;
};

static void run(napi_env env, void *data) {
  (void)env;
  leak_in_c(((struct work *)data)->size);
}

static void done(napi_env env, int status, void *data) {
  (void)status;
  napi_delete_async_work(env, ((struct work *)data)->handle);
  free(data);
}

static napi_value queue_leak(napi_env env, napi_callback_info info) {
  struct work *work = malloc(sizeof *work);
  napi_value name;
  work->size = argument(env, info);
  napi_create_string_utf8(env, "leak", SIZE_MAX, &name);
  napi_create_async_work(env, NULL, name, run, done, work, &work->handle);
  napi_queue_async_work(env, work->handle);
  return NULL;
}

// The status of a child that allocates and frees as often as said.
static napi_value fork_and_churn(napi_env env, napi_callback_info info) {
  const uint32_t times = argument(env, info);
  int status = -1;
  const pid_t child = fork();
  if (child == 0) {
    for (uint32_t index = 0; index < times; index++) free(leaked = malloc(index % 5000 + 1));
    _exit(0);
  }
  if (child > 0) waitpid(child, &status, 0);
  napi_value result;
  napi_create_double(env, status, &result);
  return result;
}

static napi_value number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

// Grows a block to that size, step by step. Returns how many of its bytes were lost on the way.
static napi_value grow(napi_env env, napi_callback_info info) {
  const uint32_t size = argument(env, info);
  size_t written = 0, lost = 0;
  unsigned char *block = NULL;
  for (size_t next = 1000; written < size; next = next * 3 / 2) {
    if (next > size) next = size;
    block = realloc(block, next);
    if (block == NULL) abort();
    for (size_t at = 0; at < written; at++) lost += block[at] != (unsigned char)(at * 7);
    for (; written < next; written++) block[written] = (unsigned char)(written * 7);
  }
  leaked = block;
  return number(env, (double)lost);
}

// Makes work and deletes it as often as said.
static napi_value unqueued(napi_env env, napi_callback_info info) {
  napi_value name;
  napi_create_string_utf8(env, "unqueued", SIZE_MAX, &name);
  for (uint32_t times = argument(env, info); times > 0; times--) {
    napi_async_work work;
    napi_create_async_work(env, NULL, name, run, done, NULL, &work);
    napi_delete_async_work(env, work);
  }
  return NULL;
}

// Opens a library and closes it. Returns whether it could.
static napi_value open_and_close(napi_env env, napi_callback_info info) {
  char path[4096];
  size_t count = 1;
  napi_value value;
  napi_get_cb_info(env, info, &count, &value, NULL, NULL);
  napi_get_value_string_utf8(env, value, path, sizeof path, NULL);
  void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  return number(env, library != NULL && dlclose(library) == 0);
}

static volatile sig_atomic_t signals;
static void count_signal(int signal) { signals += signal != 0; }

// Lets a signal come in every millisecond of CPU time. Returns how many came so far.
static napi_value interrupt(napi_env env, napi_callback_info info) {
  (void)info;
  struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
  const struct itimerval each = {{0, 1000}, {0, 1000}};
  if (signals == 0 && (sigaction(SIGPROF, &action, NULL) != 0 || setitimer(ITIMER_PROF, &each, NULL) != 0)) abort();
  return number(env, signals);
}

napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  const struct {
    const char *name;
    napi_callback callback;
  } functions[] = {{"leak", leak},         {"queueLeak", queue_leak},        {"forkAndChurn", fork_and_churn}, {"grow", grow},
                   {"unqueued", unqueued}, {"openAndClose", open_and_close}, {"interrupt", interrupt}};
  for (size_t index = 0; index < sizeof functions / sizeof *functions; index++) {
    napi_value function;
    napi_create_function(env, functions[index].name, SIZE_MAX, functions[index].callback, NULL, &function);
    napi_set_named_property(env, exports, functions[index].name, function);
  }
  return exports;
}
