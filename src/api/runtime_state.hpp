#pragma once

#include "api/background_jobs.hpp"
#include "api/builder.hpp"
#include "api/kernel_shares.hpp"
#include "api/loaded_kernel.hpp"
#include "api/use_record.hpp"
#include "base/log.hpp"
#include "cache/memory_cache.hpp"
#include "cuda/driver.hpp"
#include "plan/plan.hpp"

#include <kiln/runtime.hpp>

#include <memory>
#include <stop_token>

namespace kiln::detail {

struct RequestHash {
  std::size_t operator()(const KernelRequest& request) const noexcept;
};

/// What a Runtime is made of. A request goes: plan → find or compile → load, once, and is then served
/// from memory.
class RuntimeState : public std::enable_shared_from_this<RuntimeState> {
 public:
  static std::shared_ptr<RuntimeState> make(const Options& options);

  using KernelPtr = std::shared_ptr<const LoadedKernel>;
  /// `stream`: whose capture forbids a compile; nullptr looks at the current context's streams.
  /// The result lives as long as this.
  const KernelPtr& get(const KernelRequest& request, Stream stream);
  void prepare(std::span<const KernelRequest> requests, const ProgressCallback& progress);
  [[nodiscard]] std::unique_ptr<BackgroundJobs> prepare_async(std::span<const KernelRequest> requests,
                                                              ProgressCallback progress);
  [[nodiscard]] Stats stats() const;

 private:
  explicit RuntimeState(const Options& options);
  [[nodiscard]] const KernelPtr& build(const KernelRequest& request, Stream stream, const std::stop_token& stop);
  [[nodiscard]] KernelPtr load(const KernelRequest& request, Stream stream, const std::stop_token& stop);
  /// The kernel that requests with one canonical form share.
  [[nodiscard]] const KernelPtr& same_kernel(const KernelRequest& canonical, Stream stream,
                                             const std::stop_token& stop);
  [[nodiscard]] std::vector<api::Job> jobs(std::span<const KernelRequest> requests, const std::stop_token& stop);
  [[nodiscard]] bool is_capturing(Stream stream) const;
  void fail_if_capturing(const KernelRequest& request, Stream stream) const;

  base::Logger log_;
  int compile_jobs_;
  std::shared_ptr<const cuda::Driver> driver_;
  int device_;
  plan::DeviceInfo device_info_;
  cuda::Overlap overlap_;
  plan::TunedTable tuned_;
  api::Builder builder_;
  api::UseRecord record_;
  std::shared_ptr<api::WorkspaceCheck> workspace_check_;
  std::shared_ptr<Counters> counters_ = std::make_shared<Counters>();
  cache::MemoryCache<KernelRequest, KernelShares, RequestHash> kernels_;
};

}  // namespace kiln::detail
