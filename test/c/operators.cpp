// Every form of operator new and delete. With REPLACED the program brings the four basic forms itself, with a header
// before each block; with OWN_MALLOC it brings C's functions and none of C++'s; with PLUGIN it is a library to be opened, whose C++ runtime nobody else sees. It prints one line for
// each thing that is not as C++ has it, and at the end how many were looked at.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <vector>

namespace {

int looked = 0, wrong = 0;
void is(bool good, const char *what) {
  looked++;
  if (!good) wrong++, std::printf("not so: %s\n", what);
}

using std::align_val_t;
using std::nothrow;
using std::size_t;

#ifdef REPLACED
constexpr size_t HEADER = 4096;
int news = 0, deletes = 0;
const std::uint64_t MARK = 0x6d792d6f776e2d21;

void *with_header(void *block) {
  news++;
  std::memcpy(block, &MARK, sizeof MARK);
  return static_cast<char *>(block) + HEADER;
}
void without_header(void *object) {
  if (!object) return;
  deletes++;
  char *block = static_cast<char *>(object) - HEADER;
  if (std::memcmp(block, &MARK, sizeof MARK) != 0) std::puts("not so: the program's delete gets the program's blocks"), std::abort();
  std::free(block);
}
#endif

#ifdef OWN_MALLOC
int mallocs = 0, frees = 0;
#endif

volatile size_t TOO_MUCH = static_cast<size_t>(std::numeric_limits<std::ptrdiff_t>::max()) - 65536;
const size_t ALIGNMENTS[] = {1, 8, 16, 64, 256, 4096};

struct Form {
  const char *name;
  void *(*allocate)(size_t, align_val_t);
  void (*release)(void *, size_t, align_val_t);
  bool is_aligned;
};

#define NEW(...) [](size_t n, [[maybe_unused]] align_val_t a) { return __VA_ARGS__; }
#define DELETE(...) [](void *p, [[maybe_unused]] size_t n, [[maybe_unused]] align_val_t a) { __VA_ARGS__; }
const Form FORMS[] = {
    {"new, delete", NEW(::operator new(n)), DELETE(::operator delete(p)), false},
    {"new, sized delete", NEW(::operator new(n)), DELETE(::operator delete(p, n)), false},
    {"new, nothrow delete", NEW(::operator new(n)), DELETE(::operator delete(p, nothrow)), false},
    {"new[], delete[]", NEW(::operator new[](n)), DELETE(::operator delete[](p)), false},
    {"new[], sized delete[]", NEW(::operator new[](n)), DELETE(::operator delete[](p, n)), false},
    {"new[], nothrow delete[]", NEW(::operator new[](n)), DELETE(::operator delete[](p, nothrow)), false},
    {"nothrow new", NEW(::operator new(n, nothrow)), DELETE(::operator delete(p)), false},
    {"nothrow new[]", NEW(::operator new[](n, nothrow)), DELETE(::operator delete[](p)), false},
    {"aligned", NEW(::operator new(n, a)), DELETE(::operator delete(p, a)), true},
    {"aligned, sized", NEW(::operator new(n, a)), DELETE(::operator delete(p, n, a)), true},
    {"aligned, nothrow delete", NEW(::operator new(n, a)), DELETE(::operator delete(p, a, nothrow)), true},
    {"aligned []", NEW(::operator new[](n, a)), DELETE(::operator delete[](p, a)), true},
    {"aligned [], sized", NEW(::operator new[](n, a)), DELETE(::operator delete[](p, n, a)), true},
    {"aligned [], nothrow delete", NEW(::operator new[](n, a)), DELETE(::operator delete[](p, a, nothrow)), true},
    {"aligned, nothrow", NEW(::operator new(n, a, nothrow)), DELETE(::operator delete(p, a)), true},
    {"aligned [], nothrow", NEW(::operator new[](n, a, nothrow)), DELETE(::operator delete[](p, a)), true},
};

bool is_nothrow(const Form &form) { return std::strstr(form.name, "nothrow") && !std::strstr(form.name, "nothrow delete"); }

void allocates(const Form &form) {
  for (size_t alignment : ALIGNMENTS) {
    std::vector<std::pair<char *, size_t>> blocks;
    for (size_t size = 0; size < 3000; size = size * 5 / 4 + 1) {
      char *block = static_cast<char *>(form.allocate(size, align_val_t(alignment)));
      is(block != nullptr, form.name);
      size_t least = form.is_aligned && alignment > 16 ? alignment : 16;
      is(reinterpret_cast<std::uintptr_t>(block) % least == 0, form.name);
      std::memset(block, static_cast<int>(size), size);
      blocks.emplace_back(block, size);
    }
    for (auto [block, size] : blocks) {
      for (size_t i = 0; i < size; i++)
        if (block[i] != static_cast<char>(size)) is(false, "a block keeps what is written");
      form.release(block, size, align_val_t(alignment));
    }
  }
  form.release(nullptr, 0, align_val_t(16));
}

int asked;

const char *attempt(const Form &form, size_t size) {
  try {
    void *block = form.allocate(size, align_val_t(64));
    if (!block) return "null";
    form.release(block, size, align_val_t(64));
    return "a block";
  } catch (const std::bad_alloc &) {
    return "bad_alloc";
  } catch (const std::runtime_error &) {
    return "runtime_error";
  }
}

void refuses(const Form &form) {
  const char *expected = is_nothrow(form) ? "null" : "bad_alloc";
  is(std::strcmp(attempt(form, TOO_MUCH), expected) == 0, form.name);
  // (With an alignment libstdc++ 12 rounds this up to 0.)
  if (!form.is_aligned) is(std::strcmp(attempt(form, std::numeric_limits<size_t>::max()), expected) == 0, form.name);
  asked = 0;
  std::set_new_handler([] {
    if (++asked == 3) std::set_new_handler(nullptr);
  });
  is(std::strcmp(attempt(form, TOO_MUCH), expected) == 0 && asked == 3, form.name);
  asked = 0;
  std::set_new_handler([] { asked++, throw std::bad_alloc(); });
  is(std::strcmp(attempt(form, TOO_MUCH), expected) == 0 && asked == 1, form.name);
  std::set_new_handler(nullptr);
}

} // namespace

#ifdef OWN_MALLOC
extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);
void *malloc(size_t size) noexcept { return mallocs++, __libc_malloc(size); }
void *calloc(size_t count, size_t size) noexcept { return __libc_calloc(count, size); }
void *realloc(void *block, size_t size) noexcept { return __libc_realloc(block, size); }
void *aligned_alloc(size_t alignment, size_t size) noexcept { return mallocs++, __libc_memalign(alignment, size); }
void free(void *block) noexcept { frees += block != nullptr, __libc_free(block); }
}
#endif

#ifdef REPLACED
void *operator new(size_t size) { return ::operator new(size, align_val_t(16)); }
void operator delete(void *object) noexcept { without_header(object); }
void *operator new(size_t size, align_val_t alignment) {
  for (void *block;;) {
    size_t total = (size + HEADER + HEADER - 1) / HEADER * HEADER;
    if (size < TOO_MUCH && (block = std::aligned_alloc(std::max(HEADER, size_t(alignment)), total))) return with_header(block);
    if (!std::get_new_handler()) throw std::bad_alloc();
    std::get_new_handler()();
  }
}
void operator delete(void *object, align_val_t) noexcept { without_header(object); }
#endif

extern "C" int look() {
#ifdef REPLACED
  news = deletes = 0; // (Libraries have made objects of their own.)
#endif
#ifdef OWN_MALLOC
  mallocs = frees = 0;
#endif
  for (const Form &form : FORMS) allocates(form);
#ifdef OWN_MALLOC
  is(mallocs > 1000 && mallocs == frees, "every form is on the program's malloc");
#endif
  for (const Form &form : FORMS) refuses(form);
#ifdef REPLACED
  is(news > 1000 && news == deletes, "every form is the program's");
#endif
  std::printf("%d of %d\n", looked - wrong, looked);
  return wrong != 0;
}

#ifndef PLUGIN
// What is left of a limited memory is used up, and then told.
static int exhaust() {
  std::vector<char *> blocks;
  blocks.reserve(1 << 22);
  try {
    for (;;) blocks.push_back(new char[48 << 10]);
  } catch (const std::bad_alloc &error) {
    bool null = !::operator new(48 << 10, nothrow);
    for (char *block : blocks) delete[] block;
    std::printf("%s, nothrow %s\n", error.what(), null ? "null" : "a block");
  }
  return blocks.size() < 1000;
}

int main(int argc, char **argv) { return argc > 1 && !std::strcmp(argv[1], "exhaust") ? exhaust() : look(); }
#endif
