// An addon that leaks: at once, and on a thread of the pool; and forks a child that allocates. The few declarations of Node-API are here, so
// that no headers of Node are needed.

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef struct napi_async_work__ *napi_async_work;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);

int napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
int napi_get_value_uint32(napi_env, napi_value, uint32_t *);
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

napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  const struct {
    const char *name;
    napi_callback callback;
  } functions[] = {{"leak", leak}, {"queueLeak", queue_leak}, {"forkAndChurn", fork_and_churn}};
  for (size_t index = 0; index < 3; index++) {
    napi_value function;
    napi_create_function(env, functions[index].name, SIZE_MAX, functions[index].callback, NULL, &function);
    napi_set_named_property(env, exports, functions[index].name, function);
  }
  return exports;
}
