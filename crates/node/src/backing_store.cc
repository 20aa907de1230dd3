// An ArrayBuffer over foreign memory, straight from V8.
//
// Node-API's own function costs twice as much: it makes a Buffer to get at the ArrayBuffer, and keeps a reference and a
// task of the event loop for the finaliser, so that a loop which never awaits grows. What is declared here are the
// few parts of V8's include/v8-array-buffer.h and v8-isolate.h that are used. They have been the same from Node 20 to
// Node 26, and backing_store.rs sees to it that no other version is asked. All of it is weak: where a runtime does not
// have it, or no C++ library, the address is null.

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <type_traits>
#include <utility>

#define FROM_NODE __attribute__((weak))

// What V8 allocates a BackingStore by, and so what it is freed by: `operator delete(void *)`.
extern "C" FROM_NODE void _ZdlPv(void *block);

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

class Value;

class BackingStore {
 public:
  FROM_NODE ~BackingStore();
  FROM_NODE static void EmptyDeleter(void *data, std::size_t length, void *hint);
};

// Stands in for std::unique_ptr, which is one pointer too, and returned in memory because it has a destructor. This one
// frees nothing.
struct Owned {
  BackingStore *store;
  Owned(Owned &&) = delete;
  ~Owned() {}
};

class ArrayBuffer {
 public:
  using Deleter = void (*)(void *data, std::size_t length, void *hint);
  FROM_NODE static Owned NewBackingStore(void *data, std::size_t length, Deleter deleter, void *hint);
  FROM_NODE static Local<ArrayBuffer> New(Isolate *isolate, std::shared_ptr<BackingStore> store);
};

static_assert(std::is_trivially_copyable_v<Local<ArrayBuffer>>, "it is returned in a register, as V8's own is");
static_assert(!std::is_trivially_copyable_v<Owned>, "it is returned in memory, as std::unique_ptr is");

// A member function, whose `this` is the handle's place. Of such a one no address can be compared.
FROM_NODE void SetDetachKey(ArrayBuffer *buffer, Local<Value> key) __asm__(
    "_ZN2v811ArrayBuffer12SetDetachKeyENS_5LocalINS_5ValueEEE");

}  // namespace v8

namespace {

// The C library's, so that this library needs no C++ one.
template <class T>
struct Malloc {
  using value_type = T;
  Malloc() = default;
  template <class U>
  Malloc(const Malloc<U> &) {}
  T *allocate(std::size_t count) {
    void *block = std::malloc(count * sizeof(T));
    if (block == nullptr) std::abort();
    return static_cast<T *>(block);
  }
  void deallocate(T *block, std::size_t) { std::free(block); }
  friend bool operator==(const Malloc &, const Malloc &) { return true; }
  friend bool operator!=(const Malloc &, const Malloc &) { return false; }
};

struct Destroy {
  void operator()(v8::BackingStore *store) const {
    store->~BackingStore();
    _ZdlPv(store);
  }
};

struct DestroyAndTell {
  v8::ArrayBuffer::Deleter deleter;
  void *data;
  std::size_t length;
  void *hint;
  void operator()(v8::BackingStore *store) const {
    Destroy()(store);
    deleter(data, length, hint);
  }
};

}  // namespace

// The destructor, which has no address to compare, came with the others.
extern "C" bool malloc_backend_has_v8() {
  return &v8::ArrayBuffer::NewBackingStore != nullptr && &v8::ArrayBuffer::New != nullptr &&
         &v8::BackingStore::EmptyDeleter != nullptr && &v8::SetDetachKey != nullptr && &v8::Isolate::GetCurrent != nullptr && &_ZdlPv != nullptr;
}

extern "C" void *malloc_backend_array_buffer(void *data, std::size_t length, v8::ArrayBuffer::Deleter deleter, void *hint) {
  v8::Owned owned = v8::ArrayBuffer::NewBackingStore(data, length, deleter, hint);
  std::shared_ptr<v8::BackingStore> store(owned.store, Destroy(), Malloc<char>());
  return v8::ArrayBuffer::New(v8::Isolate::GetCurrent(), std::move(store)).place;
}

// V8 counts no bytes of what has its own empty deleter, here or in whichever isolate it is transferred to. Ours is called
// by the last of the pointers.
extern "C" void *malloc_backend_uncounted_array_buffer(void *data, std::size_t length, v8::ArrayBuffer::Deleter deleter,
                                                       void *hint) {
  v8::Owned owned = v8::ArrayBuffer::NewBackingStore(data, length, v8::BackingStore::EmptyDeleter, nullptr);
  DestroyAndTell destroy{deleter, data, length, hint};
  std::shared_ptr<v8::BackingStore> store(owned.store, destroy, Malloc<char>());
  return v8::ArrayBuffer::New(v8::Isolate::GetCurrent(), std::move(store)).place;
}

// `buffer` and `undefined` are napi_values.
extern "C" void malloc_backend_unlock(void *buffer, void *undefined) {
  v8::SetDetachKey(static_cast<v8::ArrayBuffer *>(buffer), {static_cast<v8::Value *>(undefined)});
}
