#pragma once

#include "device/params.cuh"
#include "support/fake_cuda_control.hpp"
#include "tune/check.hpp"
#include "tune/half.hpp"
#include "tune/reference.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <span>

namespace kiln::test {

/// A fake GPU whose kernels give right answers for dense tensors without a mask, so that what checks
/// them has something to pass. Only the first `launches` are computed: those that are checked. What
/// follows is timing, whose helper kernel has smaller parameters.
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

  template <class T>
  static std::vector<T> copy(const void* from, std::size_t count) {
    std::vector<T> values(count);
    std::memcpy(values.data(), from, count * sizeof(T));
    return values;
  }

  void attend(const FakeLaunch& launch) {
    if (left_ == 0) return;
    constexpr std::size_t kSpinParamsBytes = 24;
    if (--left_ == 0) fake.set_params_bytes(kSpinParamsBytes);
    if (broken(launch)) return;
    if (is_decode()) {
      device::DecodeParams params{};
      std::memcpy(&params, launch.params, sizeof(params));
      answer(params, params.len_q, params.len_k, params.seqused_k);
    } else {
      device::ForwardParams params{};
      std::memcpy(&params, launch.params, sizeof(params));
      answer(params, params.len_q, params.len_k, nullptr);
    }
  }

  template <class Params>
  void answer(const Params& params, int len_q, int len_k, const int* lengths) const {
    const tune::Problem problem{.request = request_,
                                .batch = params.batch,
                                .len_q = len_q,
                                .len_k = len_k,
                                .heads_q = params.heads_q,
                                .heads_kv = params.heads_kv};
    tune::HostInputs inputs;
    inputs.q = copy<std::uint16_t>(params.q, problem.q_elements());
    inputs.k = copy<std::uint16_t>(params.k, problem.k_elements());
    inputs.v = copy<std::uint16_t>(params.v, problem.v_elements());
    if (lengths != nullptr) inputs.lengths = copy<std::int32_t>(lengths, static_cast<std::size_t>(params.batch));
    const auto rows = tune::rows_to_check(problem, problem.rows());
    const tune::RowValues values = tune::attention_float64(problem, inputs, rows);
    const auto dim = static_cast<std::size_t>(request_.config.head_dim_v);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto [batch, query, head] = rows[r];
      const int flat_row = (batch * len_q + query) * params.heads_q + head;
      const auto out_row = static_cast<std::size_t>(flat_row);
      for (std::size_t i = 0; i < dim; ++i) {
        static_cast<std::uint16_t*>(params.o)[out_row * dim + i] =
            tune::to_bits(static_cast<float>(values.out[r * dim + i]), request_.config.dtype);
      }
      params.lse[(batch * params.heads_q + head) * len_q + query] = static_cast<float>(values.lse[r]);
    }
  }

  KernelRequest request_;
  int left_;
};

}  // namespace kiln::test
