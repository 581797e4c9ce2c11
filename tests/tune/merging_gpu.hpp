#pragma once

#include "device/merge_params.cuh"
#include "plan/kernel_config.hpp"
#include "support/fake_cuda_control.hpp"
#include "tune/half.hpp"

#include <kiln/merge.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

namespace kiln::test {

/// A fake GPU whose merging kernel gives right answers. Only the first launch is computed; what follows is timing.
class MergingGpu {
 public:
  explicit MergingGpu(const MergeConfig& config) : config_(config) {
    fake.set_params_bytes(sizeof(device::MergeParams));
    fake.set_kernel([](const FakeLaunch* launch, void* self) { static_cast<MergingGpu*>(self)->merge(*launch); }, this);
  }
  ~MergingGpu() { fake.reset(); }
  MergingGpu(const MergingGpu&) = delete;
  MergingGpu& operator=(const MergingGpu&) = delete;

  FakeCuda fake;

 private:
  void merge(const FakeLaunch& launch) {
    if (done_) return;
    done_ = true;
    constexpr std::size_t kSpinParamsBytes = 24;
    fake.set_params_bytes(kSpinParamsBytes);
    device::MergeParams params{};
    std::memcpy(static_cast<void*>(&params), launch.params, sizeof(params));
    const auto of_a_batch = static_cast<unsigned>(params.len * params.heads);
    for (unsigned row = 0; row < params.rows; ++row) {
      const auto b = static_cast<int>(row / of_a_batch);
      const auto i = static_cast<int>(row % of_a_batch) / params.heads;
      merge_row(params, b, i, static_cast<int>(row) % params.heads);
    }
  }

  static std::size_t at(const device::Strides& strides, int b, int i, int head) {
    return static_cast<std::size_t>(b * strides.batch + i * strides.row + head * strides.head);
  }

  void merge_row(const device::MergeParams& params, int b, int i, int head) const {
    const auto dim = static_cast<std::size_t>(config_.head_dim_v);
    std::vector<double> sum(dim);
    double weights = 0;
    for (int s = 0; s < params.count; ++s) {
      const auto& state = params.states[s];
      const double weight = std::exp(static_cast<double>(state.lse[at(state.lse_strides, b, i, head)]));
      if (weight == 0) continue;
      weights += weight;
      const std::span row(static_cast<const std::byte*>(state.o), std::numeric_limits<std::int32_t>::max());
      for (std::size_t c = 0; c < dim; ++c) {
        sum[c] += weight * tune::load_element(row, at(state.o_strides, b, i, head) + c, config_.dtype);
      }
    }
    const std::span out(static_cast<std::byte*>(params.o), std::numeric_limits<std::int32_t>::max());
    for (std::size_t c = 0; c < dim; ++c) {
      const double x = weights == 0 ? 0 : sum[c] / weights;
      tune::store_element(out, at(params.o_strides, b, i, head) + c, static_cast<float>(x), config_.out_dtype);
    }
    params.lse[at(params.lse_strides, b, i, head)] = static_cast<float>(std::log(weights));
  }

  MergeConfig config_;
  bool done_ = false;
};

}  // namespace kiln::test
