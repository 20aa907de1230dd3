/* A Node addon: a spike of small blocks of mixed sizes in the thread of JavaScript, by this process's malloc.
 *
 *   allocate(bytes)   takes blocks of 16 to 4,096 bytes until they are of so many, and writes to each
 *   free(keep)        frees them in random order, but for one in `keep` of them, or all for 0
 *
 * The few functions of Node-API that it needs are declared here, so that no header has to be installed. */
#include <stddef.h>

#include "workload.h"

typedef void *napi_env, *napi_value, *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);
int napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
int napi_set_named_property(napi_env, napi_value, const char *, napi_value);
int napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
int napi_get_value_double(napi_env, napi_value, double *);

static char **blocks;
static size_t count, room;

static double argument(napi_env env, napi_callback_info info) {
  napi_value value;
  size_t arguments = 1;
  double number = 0;
  napi_get_cb_info(env, info, &arguments, &value, NULL, NULL);
  napi_get_value_double(env, value, &number);
  return number;
}

static napi_value allocate(napi_env env, napi_callback_info info) {
  size_t bytes = (size_t)argument(env, info);
  while (bytes > 0) {
    size_t size = ((size_t)16 << below(8)) + below(16);
    size = size > 4096 ? 4096 : size;
    bytes -= size < bytes ? size : bytes;
    if (count == room) blocks = must(realloc(blocks, (room = room ? room * 2 : 1 << 20) * sizeof *blocks));
    memset(blocks[count++] = must(malloc(size)), 1, size);
  }
  return NULL;
}

static napi_value release(napi_env env, napi_callback_info info) {
  size_t keep = (size_t)argument(env, info);
  for (size_t n = count; n > 1; n--) {
    size_t other = below((uint32_t)n);
    char *block = blocks[other];
    blocks[other] = blocks[n - 1];
    blocks[n - 1] = block;
  }
  for (size_t n = 0; n < count; n++)
    if (keep == 0 || n % keep != 0) free(blocks[n]);
  free(blocks);
  blocks = NULL;
  count = room = 0;
  return NULL;
}

static void export(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, SIZE_MAX, callback, NULL, &function);
  napi_set_named_property(env, exports, name, function);
}

napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  export(env, exports, "allocate", allocate);
  export(env, exports, "free", release);
  return exports;
}
