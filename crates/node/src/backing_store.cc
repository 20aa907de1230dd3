// An ArrayBuffer over foreign memory, straight from V8.
//
// Node-API's own function costs twice as much: it makes a Buffer to get at the ArrayBuffer, and keeps a reference and a
// task of the event loop for the finaliser, so that a loop which never awaits grows. What is declared here are the
// few parts of V8's include/v8-array-buffer.h and v8-isolate.h that are used. They have been the same from Node 20 to
// Node 26, and backing_store.rs sees to it that no other version is asked. Weak: where one is missing it is null.

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#define FROM_NODE __attribute__((weak))

namespace v8 {

class Isolate {
 public:
  FROM_NODE static Isolate *GetCurrent();
};

// A place in V8's table of handles. Node-API's napi_value is the same pointer (node's src/js_native_api_v8.h).
template <class T>
struct Local {
  T *place;
};

class BackingStore {
 public:
  FROM_NODE ~BackingStore();
};

class ArrayBuffer {
 public:
  using Deleter = void (*)(void *data, std::size_t length, void *hint);
  FROM_NODE static std::unique_ptr<BackingStore> NewBackingStore(void *data, std::size_t length, Deleter deleter,
                                                                 void *hint);
  FROM_NODE static Local<ArrayBuffer> New(Isolate *isolate, std::shared_ptr<BackingStore> store);
};

static_assert(std::is_trivially_copyable_v<Local<ArrayBuffer>>, "it is returned in a register, as V8's own is");

}  // namespace v8

// The destructor, which has no address to compare, came with the first of them.
extern "C" bool malloc_backend_has_v8() {
  return &v8::ArrayBuffer::NewBackingStore != nullptr && &v8::ArrayBuffer::New != nullptr &&
         &v8::Isolate::GetCurrent != nullptr;
}

extern "C" void *malloc_backend_array_buffer(void *data, std::size_t length, v8::ArrayBuffer::Deleter deleter, void *hint) {
  auto store = v8::ArrayBuffer::NewBackingStore(data, length, deleter, hint);
  return v8::ArrayBuffer::New(v8::Isolate::GetCurrent(), std::move(store)).place;
}
