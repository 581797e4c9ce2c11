#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace kiln::base {

/// A small number that each thread keeps, to spread threads over shards by.
inline std::size_t thread_number() noexcept {
  static std::atomic<std::size_t> threads = 0;
  thread_local const std::size_t mine = threads.fetch_add(1, std::memory_order_relaxed);
  return mine;
}

/// Counts from many threads at once without their taking turns at one cache line. Reading sums.
class ShardedCounter {
 public:
  void add(std::uint64_t amount = 1) noexcept {
    shards_[thread_number() % kShards].count.fetch_add(amount, std::memory_order_relaxed);
  }

  [[nodiscard]] std::uint64_t sum() const noexcept {
    std::uint64_t total = 0;
    for (const auto& shard : shards_) total += shard.count.load(std::memory_order_relaxed);
    return total;
  }

 private:
  static constexpr std::size_t kShards = 32;
  static constexpr std::size_t kCacheLineBytes = 64;

  struct alignas(kCacheLineBytes) Shard {
    std::atomic<std::uint64_t> count = 0;
  };

  std::array<Shard, kShards> shards_;
};

}  // namespace kiln::base
