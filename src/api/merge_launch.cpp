#include "api/check_merge_args.hpp"
#include "api/device_strides.hpp"
#include "api/loaded_kernel.hpp"
#include "api/runtime_state.hpp"
#include "device/merge_params.cuh"

#include <kiln/runtime.hpp>

#include <numbers>

namespace kiln {
namespace detail {
namespace {

static_assert(kMostMergedStates == device::kMostStates);

device::MergeParams merge_params(const MergeArgs& args) {
  device::MergeParams params{};
  for (std::size_t i = 0; i < static_cast<std::size_t>(args.num_states); ++i) {
    const auto& state = args.states[i];
    params.states[i] = {.o = state.out.data,
                        .lse = state.lse.data,
                        .o_strides = to_device(state.out.strides),
                        .lse_strides = to_device(state.lse.strides)};
  }
  params.o = args.out.data;
  params.lse = args.lse.data;
  params.o_strides = to_device(args.out.strides);
  params.lse_strides = to_device(args.lse.strides);
  params.count = args.num_states;
  params.len = args.len;
  params.heads = args.heads;
  params.rows = static_cast<unsigned>(args.batch) * static_cast<unsigned>(args.len) * static_cast<unsigned>(args.heads);
  params.lse_to_log2 = args.lse_base2 ? 1 : std::numbers::log2e_v<float>;
  params.lse_unit = args.lse_base2 ? 1 : std::numbers::ln2_v<float>;
  return params;
}

}  // namespace

void LoadedKernel::launch(Stream stream, const MergeArgs& args) const {
  constexpr unsigned kWarpThreads = 32;
  api::check(config_.request.merge, args);
  if (api::writes_nothing(args)) return;
  const auto params = merge_params(args);
  module_->launch({.grid_x = device::ceil_div(params.rows, static_cast<unsigned>(config_.tiling.tile_m)),
                   .threads = static_cast<unsigned>(config_.tiling.warps) * kWarpThreads},
                  stream, &params);
  count_launch();
}

}  // namespace detail

MergeKernel::MergeKernel(std::shared_ptr<const detail::LoadedKernel> kernel) : kernel_(std::move(kernel)) {}
void MergeKernel::launch(Stream stream, const MergeArgs& args) const { kernel_->launch(stream, args); }
const KernelInfo& MergeKernel::info() const { return kernel_->info(); }

MergeKernel Runtime::merge(const MergeConfig& config) const {
  return MergeKernel(state_->get({.kind = KernelKind::merge, .merge = config}, nullptr));
}

void Runtime::launch(const MergeConfig& config, Stream stream, const MergeArgs& args) const {
  state_->get({.kind = KernelKind::merge, .merge = config}, stream)->launch(stream, args);
}

}  // namespace kiln
