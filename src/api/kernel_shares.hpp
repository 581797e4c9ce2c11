#pragma once

#include "api/loaded_kernel.hpp"
#include "base/sharded_counter.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <utility>

namespace kiln::detail {

/// A kernel under several reference counts, so that threads that take and drop handles of it all the time don't take
/// turns at one. The kernel lives as long as any of them is above zero.
class KernelShares {
 public:
  using KernelPtr = std::shared_ptr<const LoadedKernel>;

  explicit KernelShares(const KernelPtr& kernel) {
    for (auto& share : shares_) share = KernelPtr(kernel.get(), Keep{kernel});
  }

  /// The calling thread's.
  [[nodiscard]] const KernelPtr& mine() const noexcept { return shares_[base::thread_number() % shares_.size()]; }

 private:
  static constexpr std::size_t kShares = 16;
  static constexpr std::size_t kCacheLineBytes = 64;

  /// Its alignment gives each count a cache line of its own.
  struct alignas(kCacheLineBytes) Keep {
    KernelPtr kernel;
    void operator()(const LoadedKernel* /*kernel*/) noexcept { kernel.reset(); }
  };

  std::array<KernelPtr, kShares> shares_;
};

}  // namespace kiln::detail
