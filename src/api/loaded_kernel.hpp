#pragma once

#include "api/workspace_check.hpp"
#include "base/sharded_counter.hpp"
#include "cuda/driver.hpp"
#include "device/decode_workspace.cuh"
#include "plan/decode_split.hpp"
#include "plan/device_info.hpp"
#include "plan/kernel_config.hpp"

#include <kiln/runtime.hpp>

#include <memory>

namespace kiln::detail {

/// What a Runtime counts. Outlives it as long as a handle does.
struct Counters {
  base::ShardedCounter memory_hits;
  base::ShardedCounter precompiled_hits;
  base::ShardedCounter disk_hits;
  base::ShardedCounter compiles;
  base::ShardedCounter launches;
  base::ShardedCounter compile_us;
  base::ShardedCounter load_us;
};

/// A kernel in the driver's hands, with all that a launch needs.
class LoadedKernel {
 public:
  LoadedKernel(KernelInfo info, const plan::KernelConfig& config, plan::DeviceInfo device,
               std::shared_ptr<const cuda::Module> module, std::shared_ptr<Counters> counters,
               std::shared_ptr<api::WorkspaceCheck> workspace_check = nullptr)
      : info_(std::move(info)),
        config_(config),
        device_(std::move(device)),
        module_(std::move(module)),
        counters_(std::move(counters)),
        workspace_check_(std::move(workspace_check)) {}

  /// The same kernel, asked for in other words: its canonical request is this one's.
  [[nodiscard]] std::shared_ptr<const LoadedKernel> as(const KernelRequest& request) const {
    auto info = info_;
    info.request = request;
    return std::make_shared<const LoadedKernel>(std::move(info), config_, device_, module_, counters_,
                                                workspace_check_);
  }

  void launch(Stream stream, const ForwardArgs& args) const;
  void launch(Stream stream, const DecodeArgs& args) const;
  void launch(Stream stream, const MergeArgs& args) const;
  [[nodiscard]] std::size_t workspace_bytes(const DecodeArgs& args) const;
  [[nodiscard]] const KernelInfo& info() const noexcept { return info_; }

 private:
  void count_launch() const noexcept { counters_->launches.add(); }
  [[nodiscard]] device::DecodeWorkspace workspace_of(const plan::DecodeSplit& split, const DecodeArgs& args) const;
  /// As asked for: what a decode kernel is told with each call is not in config_.
  [[nodiscard]] const AttentionConfig& asked() const noexcept { return info_.request.config; }

  KernelInfo info_;
  plan::KernelConfig config_;
  plan::DeviceInfo device_;
  std::shared_ptr<const cuda::Module> module_;
  std::shared_ptr<Counters> counters_;
  std::shared_ptr<api::WorkspaceCheck> workspace_check_;  ///< null: not asked for
};

}  // namespace kiln::detail
