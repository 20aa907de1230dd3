// What a C++ program asks of its allocator, through libstdc++: operator new and delete in all their shapes, exceptions
// across threads, containers, thread_local objects. Deterministic output; between two parts it waits for a line.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <future>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

struct alignas(64) Line {
  char bytes[64];
};
struct alignas(8192) Pages {
  char bytes[100];
};

template <typename T> bool aligned(const T *object) { return reinterpret_cast<std::uintptr_t>(object) % alignof(T) == 0; }

std::atomic<int> farewells{0};
struct Farewell {
  std::vector<std::string> words{200, std::string(100, 'x')};
  ~Farewell() { farewells += words.size() == 200; }
};
thread_local Farewell farewell;

struct Global {
  std::map<int, std::string> names;
  Global() {
    for (int i = 0; i < 1000; i++) names[i] = std::to_string(i * i);
  }
  ~Global() { std::fprintf(stderr, "global destroyed with %zu names\n", names.size()); }
} global;

std::string news() {
  std::ostringstream out;
  std::vector<std::unique_ptr<Line>> lines;
  std::vector<std::unique_ptr<Pages>> pages;
  bool good = true;
  for (int i = 0; i < 500; i++) {
    lines.push_back(std::make_unique<Line>());
    good &= aligned(lines.back().get());
    if (i % 10 == 0) pages.push_back(std::make_unique<Pages>()), good &= aligned(pages.back().get());
  }
  Line *array = new Line[33];
  good &= aligned(array);
  delete[] array;
  ::operator delete(::operator new(100), std::size_t(100));
  ::operator delete(::operator new(100, std::align_val_t(256)), std::size_t(100), std::align_val_t(256));
  char *nothing = new char[0];
  good &= nothing != nullptr;
  delete[] nothing;
  return good ? "aligned" : "misaligned";
}

std::size_t too_much() {
  volatile std::size_t size = std::numeric_limits<std::ptrdiff_t>::max();
  return size - 4096;
}

std::string refusals() {
  std::ostringstream out;
  try {
    char *block = static_cast<char *>(::operator new(too_much()));
    out << "a block at " << static_cast<void *>(block);
  } catch (const std::bad_alloc &error) {
    out << error.what();
  }
  out << ", nothrow " << (::operator new(too_much(), std::nothrow) == nullptr ? "null" : "a block");
  static int asked = 0;
  std::set_new_handler([] {
    if (++asked == 3) throw std::runtime_error("the new handler gave up");
  });
  try {
    ::operator delete(::operator new(too_much(), std::align_val_t(64)));
  } catch (const std::exception &error) {
    out << ", " << error.what() << " after " << asked;
  }
  std::set_new_handler(nullptr);
  return out.str();
}

int deep(int depth, const std::string &name) {
  std::string local = name + std::to_string(depth);
  std::vector<std::string> ballast(static_cast<std::size_t>(depth), local);
  if (depth == 60) throw std::invalid_argument(local);
  return deep(depth + 1, local.substr(0, 20)) + 1;
}

// Exceptions are allocated in one thread and freed in another.
std::string exceptions() {
  std::vector<std::future<int>> results;
  for (int i = 0; i < 200; i++)
    results.push_back(std::async(std::launch::async, [i] {
      farewell.words.back() += 'y';
      return deep(i % 60, "from a thread ");
    }));
  int caught = 0;
  std::size_t length = 0;
  for (auto &result : results) {
    try {
      result.get();
    } catch (const std::invalid_argument &error) {
      caught++, length += std::string(error.what()).size();
    }
  }
  return std::to_string(caught) + " caught, " + std::to_string(length) + " characters";
}

std::string containers() {
  std::vector<std::thread> threads;
  std::vector<std::unordered_map<std::string, std::vector<int>>> maps(4);
  for (int t = 0; t < 4; t++)
    threads.emplace_back([t, &maps] {
      for (int i = 0; i < 20000; i++) maps[static_cast<std::size_t>(t)]["key " + std::to_string(i % 997)].push_back(i * t);
    });
  for (auto &thread : threads) thread.join();
  long long sum = 0;
  for (auto &map : maps)
    for (auto &[key, values] : map) sum += std::accumulate(values.begin(), values.end(), 0LL) + static_cast<long long>(key.size());
  maps.clear();
  return std::to_string(sum);
}

} // namespace

int main(int argc, char **argv) {
  std::cout << "new: " << news() << "\nrefusals: " << refusals() << "\nready" << std::endl;
  std::string line;
  if (argc > 1 && std::string(argv[1]) == "--wait") std::getline(std::cin, line);
  std::cout << "exceptions: " << exceptions() << "\ncontainers: " << containers() << "\nfarewells: " << farewells
            << "\nnames: " << global.names.size() << std::endl;
  return 5;
}
