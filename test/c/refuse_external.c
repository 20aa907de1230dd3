// Preloaded into Node it has addons find an ArrayBuffer over foreign memory refused, as Electron and a V8 with its
// sandbox refuse it. Our addon looks Node-API's functions up by name.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

enum { napi_no_external_buffers_allowed = 22 };

static int refuse(void) { return napi_no_external_buffers_allowed; }

void *dlsym(void *handle, const char *name) {
  static void *(*real)(void *, const char *);
  if (!real) {
    real = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    if (!real) real = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    if (!real) real = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.17");
  }
  if (!strcmp(name, "napi_create_external_arraybuffer") || !strcmp(name, "napi_create_external_buffer"))
    return (void *)refuse;
  return real(handle, name);
}
