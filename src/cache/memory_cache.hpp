#pragma once

#include "base/fail.hpp"

#include <atomic>
#include <bit>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kiln::cache {

/// Values built once per key and kept, where they are, as long as the cache. A hit takes no lock and
/// writes no memory, so any number of readers scale.
///
/// The table is open-addressed and its slots only ever go from null to a node: readers probe it while a
/// writer, under a lock, fills further slots. A table half full is replaced by a copy of twice the size;
/// readers may still be in the old one, so it stays until the end. All old ones together are smaller
/// than the present one.
template <class Key, class Value, class Hash = std::hash<Key>, class Equal = std::equal_to<Key>>
class MemoryCache {
 public:
  MemoryCache() { adopt(std::make_unique<Table>(kFirstSlots)); }
  MemoryCache(const MemoryCache&) = delete;
  MemoryCache& operator=(const MemoryCache&) = delete;

  /// Null if the key was not built.
  [[nodiscard]] const Value* find(const Key& key) const {
    const Node* node = table_.load(std::memory_order_acquire)->find(spread(key), key);
    return node != nullptr ? &node->value : nullptr;
  }

  /// The value, made by `build()` if there is none. One thread builds, others that ask meanwhile wait
  /// and get the same value or the same exception. A build that failed is forgotten: the next ask tries
  /// again. If it failed by what concerns its own thread only, Error(capturing) or Error(cancelled), one of those that
  /// waited builds instead. Error(unsupported) if a build asks for the very key that it builds; Error(cancelled) if a
  /// stop is asked for while this thread waits for another's build.
  template <class Build>
  const Value& get_or_build(const Key& key, Build&& build, const std::stop_token& stop = {}) {
    for (;;) {
      if (const Value* found = find(key)) return *found;
      std::unique_lock lock(mutex_);
      if (const Value* found = find(key)) return *found;
      const auto other = flights_.find(key);
      if (other == flights_.end()) return build_here(lock, key, std::forward<Build>(build));
      if (const Value* landed = wait(lock, other->second, stop)) return *landed;
    }
  }

  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return nodes_.size();
  }

 private:
  static constexpr std::size_t kFirstSlots = 64;

  struct Node {
    std::uint64_t hash;
    Key key;
    Value value;
  };

  struct Table {
    explicit Table(std::size_t slot_count)
        : slots(slot_count), shift(64 - std::countr_zero(std::uint64_t{slot_count})) {}

    /// The hash's upper bits choose the slot, the next free ones take what collides.
    const Node* find(std::uint64_t hash, const Key& key) const {
      for (std::size_t i = hash >> shift;; ++i) {
        const Node* node = slots[i & (slots.size() - 1)].load(std::memory_order_acquire);
        if (node == nullptr || (node->hash == hash && Equal{}(node->key, key))) return node;
      }
    }
    void insert(const Node* node) {
      std::size_t i = node->hash >> shift;
      while (slots[i & (slots.size() - 1)].load(std::memory_order_relaxed) != nullptr) ++i;
      slots[i & (slots.size() - 1)].store(node, std::memory_order_release);
    }

    std::vector<std::atomic<const Node*>> slots;  // a power of two of them, at most half of them taken
    int shift;
  };

  /// A build under way, and how it ended. Over without a value or a failure, it was given up.
  struct Flight {
    std::condition_variable_any landed;
    std::thread::id builder = std::this_thread::get_id();
    bool over = false;
    const Value* value = nullptr;
    std::exception_ptr failure;
  };

  /// Fibonacci hashing: a hash that is the number itself would leave the upper bits empty.
  static std::uint64_t spread(const Key& key) { return std::uint64_t{Hash{}(key)} * 0x9e3779b97f4a7c15U; }

  /// Null if the build was given up.
  static const Value* wait(std::unique_lock<std::mutex>& lock, std::shared_ptr<Flight> flight,
                           const std::stop_token& stop) {
    if (flight->builder == std::this_thread::get_id()) {
      base::fail(ErrorCode::unsupported, "building a value asked for that same value: it would wait for ever");
    }
    if (!flight->landed.wait(lock, stop, [&] { return flight->over; })) {
      base::fail(ErrorCode::cancelled, "the wait for another thread's build was cancelled");
    }
    if (flight->failure) std::rethrow_exception(flight->failure);
    return flight->value;
  }

  template <class Build>
  const Value& build_here(std::unique_lock<std::mutex>& lock, const Key& key, Build&& build) {
    const auto flight = std::make_shared<Flight>();
    flights_.emplace(key, flight);
    lock.unlock();
    std::exception_ptr failure;
    bool builders_own = false;
    try {
      std::unique_ptr<Node> node(new Node{spread(key), key, std::forward<Build>(build)()});
      lock.lock();
      flight->value = &insert(std::move(node))->value;
    } catch (const Error& error) {
      failure = std::current_exception();
      builders_own = error.code() == ErrorCode::capturing || error.code() == ErrorCode::cancelled;
    } catch (...) {
      failure = std::current_exception();
    }
    if (!lock.owns_lock()) lock.lock();
    flight->over = true;
    if (!builders_own) flight->failure = failure;
    flights_.erase(key);
    flight->landed.notify_all();
    if (failure) std::rethrow_exception(failure);
    return *flight->value;
  }

  const Node* insert(std::unique_ptr<const Node> node) {
    if (2 * (nodes_.size() + 1) > tables_.back()->slots.size()) grow();
    nodes_.push_back(std::move(node));
    tables_.back()->insert(nodes_.back().get());
    return nodes_.back().get();
  }
  void grow() {
    auto larger = std::make_unique<Table>(2 * tables_.back()->slots.size());
    for (const auto& node : nodes_) larger->insert(node.get());
    adopt(std::move(larger));
  }
  void adopt(std::unique_ptr<Table> table) {
    tables_.push_back(std::move(table));
    table_.store(tables_.back().get(), std::memory_order_release);
  }

  // Alone on its cache line: threads that miss and take the lock don't disturb those that hit.
  alignas(64) std::atomic<const Table*> table_{nullptr};
  alignas(64) mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Table>> tables_;
  std::vector<std::unique_ptr<const Node>> nodes_;
  std::unordered_map<Key, std::shared_ptr<Flight>, Hash, Equal> flights_;
};

}  // namespace kiln::cache
