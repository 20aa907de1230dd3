/* upstream NAME N: programs in the manner of mimalloc-bench's of the same names, written anew. N is the number of steps.
 * In C++, because two of those are: `new` and `delete` are an allocator's too. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <thread>
#include <vector>

namespace {

/* xorshift64*; fixed work from a seed, so that two runs differ in the allocator alone. */
struct Generator {
  uint64_t state;
  uint64_t next() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1du;
  }
  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(((next() >> 32) * limit) >> 32); }
};

/* Half of the blocks have 5 to 8 bytes, a quarter 9 to 16, and so on up to 1 KiB: 65,536 places, one of which falls
 * empty or is filled at a time. */
void alloc_test(uint64_t n) {
  static char *places[1 << 16];
  Generator random{1};
  while (n-- > 0) {
    uint64_t number = random.next();
    char *&place = places[number >> 48];
    if (place != nullptr) {
      free(place);
      place = nullptr;
    } else {
      size_t least = size_t{4} << __builtin_ctzll((number & 127) | 128);
      size_t size = least + 1 + ((number >> 8) & (least - 1));
      place = static_cast<char *>(malloc(size));
      memset(place, 1, size);
    }
  }
}

/* Two threads replace blocks of 10 to 500 bytes at random, and each leaves its live ones to a successor and ends. */
void larson(uint64_t n) {
  constexpr int threads = 2, shifts = 50, live = 1000;
  struct Shift {
    Generator random;
    char *blocks[live];
  };
  static Shift all[threads];
  for (int t = 0; t < threads; t++) all[t].random.state = 17u + static_cast<unsigned>(t);
  uint64_t steps = n / threads / shifts;
  auto work = [steps](Shift &shift) {
    for (uint64_t i = 0; i < steps; i++) {
      char *&block = shift.blocks[shift.random.below(live)];
      delete[] block;
      uint32_t size = 10 + shift.random.below(491);
      block = new char[size];
      block[0] = block[size - 1] = 1;
    }
  };
  for (int s = 0; s < shifts; s++) {
    std::vector<std::thread> running;
    for (Shift &shift : all) running.emplace_back(work, std::ref(shift));
    for (std::thread &thread : running) thread.join();
  }
}

/* Blocks of one size: 25, 100, 400 and 1600 are got in turn, and freed in the order in which they were got. */
void glibc_simple(uint64_t n) {
  static void *blocks[1600];
  constexpr size_t batches[] = {25, 100, 400, 1600};
  for (uint64_t done = 0, turn = 0; done < n; turn++) {
    size_t batch = batches[turn % std::size(batches)];
    for (size_t i = 0; i < batch; i++) blocks[i] = malloc(128);
    for (size_t i = 0; i < batch; i++) free(blocks[i]);
    done += batch;
  }
}

/* Natural numbers that each take a block, as those of cfrac do: the greatest common divisors of pairs of 160 bits. Every
 * step makes a number and drops one. */
struct Number {
  uint32_t length;
  uint32_t digits[];
};

Number *number(uint32_t length) {
  auto *result = static_cast<Number *>(malloc(sizeof(Number) + length * sizeof(uint32_t)));
  result->length = length;
  return result;
}

Number *trimmed(Number *of) {
  while (of->length > 0 && of->digits[of->length - 1] == 0) of->length--;
  return of;
}

int compare(const Number *a, const Number *b) {
  if (a->length != b->length) return a->length < b->length ? -1 : 1;
  for (uint32_t i = a->length; i-- > 0;) {
    if (a->digits[i] != b->digits[i]) return a->digits[i] < b->digits[i] ? -1 : 1;
  }
  return 0;
}

/* Of an a that is not less than b. */
Number *difference(const Number *a, const Number *b) {
  Number *result = number(a->length);
  uint64_t borrow = 0;
  for (uint32_t i = 0; i < a->length; i++) {
    uint64_t digit = uint64_t{a->digits[i]} - (i < b->length ? b->digits[i] : 0) - borrow;
    result->digits[i] = static_cast<uint32_t>(digit);
    borrow = digit >> 63;
  }
  return trimmed(result);
}

/* Without its factors of two; it is not 0. */
Number *odd(const Number *a) {
  uint32_t whole = 0;
  while (a->digits[whole] == 0) whole++;
  int bits = __builtin_ctz(a->digits[whole]);
  Number *result = number(a->length - whole);
  for (uint32_t i = 0; i < result->length; i++) {
    uint64_t above = i + 1 < result->length ? a->digits[whole + i + 1] : 0;
    result->digits[i] = static_cast<uint32_t>((above << 32 | a->digits[whole + i]) >> bits);
  }
  return trimmed(result);
}

void cfrac(uint64_t n) {
  Generator random{1};
  auto any = [&random] {
    Number *result = number(5);
    for (uint32_t i = 0; i < 5; i++) result->digits[i] = static_cast<uint32_t>(random.next() >> 32) | 1;
    return result;
  };
  uint64_t steps = 0;
  while (steps < n) {
    Number *a = any(), *b = any();
    for (int order; (order = compare(a, b)) != 0; steps++) {
      Number *&larger = order > 0 ? a : b;
      Number *even = difference(larger, order > 0 ? b : a);
      free(larger);
      larger = odd(even);
      free(even);
    }
    free(a);
    free(b);
  }
}

constexpr struct {
  const char *name;
  void (*run)(uint64_t);
} programs[] = {{"alloc-test", alloc_test}, {"larson", larson}, {"glibc-simple", glibc_simple}, {"cfrac", cfrac}};

} // namespace

int main(int argc, char **argv) {
  for (auto [name, run] : programs) {
    if (argc == 3 && strcmp(argv[1], name) == 0) {
      run(strtoull(argv[2], nullptr, 10));
      return 0;
    }
  }
  fprintf(stderr, "usage: %s alloc-test|larson|glibc-simple|cfrac N\n", argv[0]);
  return 2;
}
