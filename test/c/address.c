// An addon that tells where a Buffer's memory is, so that an alignment can be checked from JavaScript. The few
// declarations of Node-API are here, so that no headers of Node are needed.

#include <stddef.h>
#include <stdint.h>

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);

int napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
int napi_get_buffer_info(napi_env, napi_value, void **, size_t *);
int napi_create_double(napi_env, double, napi_value *);
int napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
int napi_set_named_property(napi_env, napi_value, const char *, napi_value);

static napi_value address(napi_env env, napi_callback_info info) {
  size_t count = 1, length;
  napi_value buffer, result = NULL;
  void *data = NULL;
  napi_get_cb_info(env, info, &count, &buffer, NULL, NULL);
  napi_get_buffer_info(env, buffer, &data, &length);
  napi_create_double(env, (double)(uintptr_t)data, &result);
  return result;
}

napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value function;
  napi_create_function(env, "address", SIZE_MAX, address, NULL, &function);
  napi_set_named_property(env, exports, "address", function);
  return exports;
}
