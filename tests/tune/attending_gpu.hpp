#pragma once

#include "device/params.cuh"
#include "plan/kernel_config.hpp"
#include "support/fake_cuda_control.hpp"
#include "tune/check.hpp"
#include "tune/half.hpp"
#include "tune/reference.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <numbers>
#include <span>

namespace kiln::test {

/// A fake GPU whose kernels give right answers, so that what checks them has something to pass. Only the first
/// `launches` are computed: those that are checked. What follows is timing, whose helper kernel has smaller parameters.
class AttendingGpu {
 public:
  AttendingGpu(const KernelRequest& request, int launches) : request_(request), left_(launches) {
    fake.set_params_bytes(is_decode() ? sizeof(device::DecodeParams) : sizeof(device::ForwardParams));
    fake.set_kernel([](const FakeLaunch* launch, void* self) { static_cast<AttendingGpu*>(self)->attend(*launch); },
                    this);
  }
  ~AttendingGpu() { fake.reset(); }
  AttendingGpu(const AttendingGpu&) = delete;
  AttendingGpu& operator=(const AttendingGpu&) = delete;

  FakeCuda fake;
  /// Launches for which this is true write nothing.
  std::function<bool(const FakeLaunch&)> broken = [](const FakeLaunch&) { return false; };

 private:
  [[nodiscard]] bool is_decode() const { return request_.kind == KernelKind::decode; }

  /// Nothing from null.
  template <class T>
  static std::vector<T> copy(const void* from, std::size_t count) {
    if (from == nullptr) return {};
    std::vector<T> values(count);
    std::memcpy(values.data(), from, count * sizeof(T));
    return values;
  }

  void attend(const FakeLaunch& launch) {
    if (left_ == 0) return;
    constexpr std::size_t kSpinParamsBytes = 24;
    if (--left_ == 0) fake.set_params_bytes(kSpinParamsBytes);
    if (broken(launch)) return;
    device::AttentionParams params{};  // where both kinds begin
    std::memcpy(&params, launch.params, sizeof(params));
    answer(params);
  }

  [[nodiscard]] tune::Problem problem_of(const device::AttentionParams& params) const {
    tune::Problem problem{.request = request_,
                          .batch = params.batch,
                          .len_q = params.len_q,
                          .len_k = params.len_k,
                          .heads_q = params.heads_q,
                          .heads_kv = params.heads_kv};
    problem.window_left = params.window_left;
    problem.window_right = params.window_right;
    if (request_.config.paged) problem.page_size = static_cast<int>(params.page.keys);
    return problem;
  }

  [[nodiscard]] tune::HostInputs inputs_of(const tune::Problem& problem, const device::AttentionParams& params) const {
    const auto& config = request_.config;
    const auto batch = static_cast<std::size_t>(problem.batch);
    const auto heads = static_cast<std::size_t>(problem.heads_q);
    const auto element = static_cast<std::size_t>(plan::element_bytes(config.dtype));
    const auto bias_element = static_cast<std::size_t>(tune::bias_element_bytes(config));
    tune::HostInputs inputs;
    inputs.q = copy<std::byte>(params.q, problem.q_elements() * element);
    inputs.k = copy<std::byte>(params.k, problem.k_elements() * element);
    inputs.v = copy<std::byte>(params.v, problem.v_elements() * element);
    inputs.lengths = copy<std::int32_t>(params.seqused_k, batch);
    inputs.lengths_q = copy<std::int32_t>(params.seqused_q, batch);
    inputs.pages =
        copy<std::int32_t>(params.page_table, batch * static_cast<std::size_t>(problem.pages_of_a_sequence()));
    inputs.alibi_slopes = copy<float>(params.alibi_slopes, heads);
    inputs.sinks = copy<float>(params.sinks, heads);
    inputs.bias = copy<std::byte>(params.bias, problem.bias_elements() * bias_element);
    return inputs;
  }

  static void expect_strides(const device::Strides& strides, const Strides& expected) {
    EXPECT_EQ((Strides{strides.batch, strides.row, strides.head}), expected);
  }

  /// What the inputs above are taken for.
  void expect_layout(const tune::Problem& problem, const device::AttentionParams& params) const {
    const auto& config = request_.config;
    const int rows = config.paged ? problem.page_size : problem.len_k;
    const std::int64_t of_a_row = problem.len_k;
    const std::int64_t of_a_slice = of_a_row * problem.len_q;
    expect_strides(params.q_strides, Strides::bshd(problem.len_q, problem.heads_q, config.head_dim_qk));
    expect_strides(params.k_strides, Strides::bshd(rows, problem.heads_kv, config.head_dim_qk));
    expect_strides(params.v_strides, Strides::bshd(rows, problem.heads_kv, config.head_dim_v));
    expect_strides(params.o_strides, Strides::bshd(problem.len_q, problem.heads_q, config.head_dim_v));
    EXPECT_EQ(params.page_table_stride, config.paged ? problem.pages_of_a_sequence() : 0);
    if (config.bias == Bias::additive) expect_strides(params.bias_strides, {0, of_a_row, of_a_slice});
    if (config.bias == Bias::mask) expect_strides(params.bias_strides, {of_a_slice, of_a_row, 0});
    EXPECT_FLOAT_EQ(params.softcap_log2, config.softcap ? tune::kSoftcap * std::numbers::log2e_v<float> : 0);
  }

  void answer(const device::AttentionParams& params) const {
    const tune::Problem problem = problem_of(params);
    expect_layout(problem, params);
    const auto rows = tune::rows_to_check(problem, problem.rows());
    const tune::RowValues values = tune::attention_float64(problem, inputs_of(problem, params), rows);
    const DType type = tune::output_type(request_.config);
    const auto dim = static_cast<std::size_t>(request_.config.head_dim_v);
    const std::span out(static_cast<std::byte*>(params.o),
                        problem.out_elements() * static_cast<std::size_t>(plan::element_bytes(type)));
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto [batch, query, head] = rows[r];
      const int flat_row = (batch * problem.len_q + query) * problem.heads_q + head;
      for (std::size_t i = 0; i < dim; ++i) {
        const std::size_t at = static_cast<std::size_t>(flat_row) * dim + i;
        tune::store_element(out, at, static_cast<float>(values.out[r * dim + i]), type);
      }
      params.lse[(batch * problem.heads_q + head) * problem.len_q + query] = static_cast<float>(values.lse[r]);
    }
  }

  KernelRequest request_;
  int left_;
};

}  // namespace kiln::test
