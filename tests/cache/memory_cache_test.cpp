#include "cache/memory_cache.hpp"

#include <kiln/error.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>

namespace kiln::cache {
namespace {

using std::chrono::milliseconds;

struct OneSlotHash {
  std::size_t operator()(int) const { return 7; }
};
struct UpperBitsHash {
  std::size_t operator()(int key) const { return static_cast<std::size_t>(key) << 48; }
};

template <class Hash>
class MemoryCacheHash : public testing::Test {};
using Hashes = testing::Types<std::hash<int>, OneSlotHash, UpperBitsHash>;
TYPED_TEST_SUITE(MemoryCacheHash, Hashes);

TYPED_TEST(MemoryCacheHash, KeepsEveryValueWhereItIs) {
  MemoryCache<int, std::string, TypeParam> cache;
  std::vector<const std::string*> values;
  constexpr int kKeys = 1000;
  for (int key = 0; key < kKeys; ++key) {
    EXPECT_EQ(cache.find(key), nullptr);
    values.push_back(&cache.get_or_build(key, [&] { return std::to_string(key); }));
  }
  for (int key = 0; key < kKeys; ++key) {
    const std::string* value = values[static_cast<std::size_t>(key)];
    EXPECT_EQ(cache.find(key), value);
    EXPECT_EQ(*value, std::to_string(key));
    EXPECT_EQ(&cache.get_or_build(key, []() -> std::string { throw std::logic_error("built twice"); }), value);
  }
  EXPECT_EQ(cache.find(kKeys), nullptr);
  EXPECT_EQ(cache.size(), std::size_t{kKeys});
}

TEST(MemoryCache, ABuildGivenUpIsMadeByOneThatWaited) {
  for (const auto code : {ErrorCode::capturing, ErrorCode::cancelled}) {
    MemoryCache<int, int> cache;
    std::atomic<int> waiting{0};
    std::atomic<int> builds{0};
    const auto wait_and_build = [&] {
      return cache.get_or_build(1, [&] {
        ++builds;
        return 5;
      });
    };
    std::vector<std::thread> threads;
    const auto give_up = [&]() -> int {
      for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
          ++waiting;
          EXPECT_EQ(wait_and_build(), 5);
        });
      }
      while (waiting < 4) std::this_thread::yield();
      std::this_thread::sleep_for(milliseconds(10));
      throw Error(code, "the builder's own affair");
    };
    EXPECT_THROW((void)cache.get_or_build(1, give_up), Error);
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(builds, 1);
  }
}

TEST(MemoryCache, AWaitCanBeCancelled) {
  MemoryCache<int, int> cache;
  std::stop_source stop;
  std::thread waiter;
  const auto build = [&] {
    waiter = std::thread([&] {
      try {
        (void)cache.get_or_build(1, [] { return 2; }, stop.get_token());
        ADD_FAILURE() << "did not throw";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::cancelled) << error.what();
      }
    });
    stop.request_stop();
    waiter.join();
    return 1;
  };
  EXPECT_EQ(cache.get_or_build(1, build), 1);
}

TEST(MemoryCache, HoldsValuesThatCannotMove) {
  struct Fixed {
    explicit Fixed(int n) : number(n) {}
    Fixed(const Fixed&) = delete;
    Fixed& operator=(const Fixed&) = delete;
    int number;
  };
  MemoryCache<int, Fixed> cache;
  EXPECT_EQ(cache.get_or_build(1, [] { return Fixed(42); }).number, 42);
}

/// Lets every thread that takes part go at once.
class Gate {
 public:
  void open() { opened_.store(true); }
  void pass() const {
    while (!opened_.load()) std::this_thread::yield();
  }

 private:
  std::atomic<bool> opened_{false};
};

TEST(MemoryCache, BuildsOnceHoweverManyAsk) {
  MemoryCache<int, int> cache;
  std::atomic<int> builds{0};
  std::atomic<int> wrong{0};
  Gate gate;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      gate.pass();
      const int& value = cache.get_or_build(5, [&] {
        std::this_thread::sleep_for(milliseconds(30));
        return ++builds;
      });
      wrong += value == 1 && &value == cache.find(5) ? 0 : 1;
    });
  }
  gate.open();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(builds, 1);
  EXPECT_EQ(wrong, 0);
}

TEST(MemoryCache, BuildsDifferentKeysAtOnce) {
  MemoryCache<int, int> cache;
  std::atomic<int> building{0};
  const auto build = [&] {  // ends only when both builds have begun
    ++building;
    while (building < 2) std::this_thread::yield();
    return 1;
  };
  std::thread other([&] { cache.get_or_build(1, build); });
  cache.get_or_build(2, build);
  other.join();
  EXPECT_EQ(cache.size(), 2U);
}

TEST(MemoryCache, GivesOneFailureToAllWhoWaitAndTriesAgainLater) {
  constexpr int kThreads = 6;
  MemoryCache<int, int> cache;
  std::atomic<int> builds{0};
  std::atomic<int> asking{0};
  std::mutex mutex;
  std::vector<std::exception_ptr> failures;  // read only after the threads have ended
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      try {
        ++asking;
        cache.get_or_build(5, [&]() -> int {
          ++builds;
          while (asking < kThreads) std::this_thread::yield();
          std::this_thread::sleep_for(milliseconds(50));  // for the last of them to come in
          throw Error(ErrorCode::compile, "does not compile");
        });
      } catch (...) {
        const std::lock_guard lock(mutex);
        failures.push_back(std::current_exception());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(builds, 1);
  ASSERT_EQ(failures.size(), std::size_t{kThreads});
  for (const auto& failure : failures) {
    EXPECT_EQ(failure, failures[0]);
    EXPECT_THROW(std::rethrow_exception(failure), Error);
  }
  EXPECT_EQ(cache.find(5), nullptr);
  EXPECT_EQ(cache.get_or_build(5, [] { return 9; }), 9);
}

TEST(MemoryCache, RefusesABuildThatAsksForItself) {
  MemoryCache<int, int> cache;
  const auto inner = [] { return 1; };
  EXPECT_THROW(cache.get_or_build(5, [&] { return cache.get_or_build(5, inner); }), Error);
  EXPECT_EQ(cache.get_or_build(5, [&] { return cache.get_or_build(6, inner) + 1; }), 2);
}

TEST(MemoryCache, ReadersKeepReadingWhileTheTableGrows) {
  constexpr int kKeys = 3000;
  MemoryCache<int, int> cache;
  std::atomic<int> published{-1};
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&, i] {
      unsigned key = static_cast<unsigned>(i);
      for (int last = published; last < kKeys - 1; last = published) {
        if (last < 0) continue;
        key = (key * 1664525U + 1013904223U);
        const int asked = static_cast<int>(key >> 8) % (last + 1);
        const int* value = cache.find(asked);
        wrong += value != nullptr && *value == asked * 3 ? 0 : 1;
      }
    });
  }
  for (int key = 0; key < kKeys; ++key) {
    cache.get_or_build(key, [&] { return key * 3; });
    published = key;
  }
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace kiln::cache
