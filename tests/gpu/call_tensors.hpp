#pragma once

#include "gpu/call_data.hpp"
#include "gpu/gpu.hpp"
#include "support/compare.hpp"

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace kiln::test {

/// What a forward and a decode call have in common: tensors and lists, filled with random data on the host, and how
/// results are judged. What no sequence has, in K, V, Q, bias and the page table, is NaN or no page. Change them, then
/// upload().
class CallTensors {
 public:
  CallTensors(const CallTensors&) = delete;
  CallTensors& operator=(const CallTensors&) = delete;
  CallTensors(CallTensors&&) = default;
  CallTensors& operator=(CallTensors&&) = default;
  virtual ~CallTensors() = default;

  [[nodiscard]] virtual Problem problem() const = 0;
  /// Against the reference, on the host data that the tensors hold now. Waits for the GPU.
  [[nodiscard]] ::testing::AssertionResult matches_reference();
  /// The same against a judge made before, where many calls share one.
  [[nodiscard]] ::testing::AssertionResult matches(const Judge& judge);

  Tensor q;
  Tensor k;
  Tensor v;
  Tensor out;
  LseBuffer lse;
  std::vector<float> alibi_slopes;
  std::vector<float> sinks;
  BiasTensor bias;
  std::vector<std::int32_t> page_table;

 protected:
  /// Where rows lie. `shape.dim` is not looked at: it is the config's.
  struct Rows {
    Layout layout;
    Shape shape;
  };
  /// K and V lie alike, and so do Q and the output.
  CallTensors(const AttentionConfig& config, const Rows& queries, const Rows& keys);

  /// Once the page table is there, if there is one. `slopes`: how many.
  void fill(const BiasShape& bias_shape, std::size_t slopes, std::uint64_t seed);
  void upload();
  void upload_page_table();
  void clear_results();
  static cuda::DeviceBuffer on_device(const auto& values) {
    return cuda::DeviceBuffer::of(Gpu::driver(), std::span(values));
  }
  /// Where such a list, of this length, lies already.
  static void put(cuda::DeviceBuffer& device, const std::vector<std::int32_t>& values);

  /// Every argument but K, V, lengths and what only one kind of call has.
  template <class Args, class Case>
  [[nodiscard]] Args args_of(const Case& test, int batch) const;
  /// The same of the problem.
  template <class Case>
  [[nodiscard]] Problem problem_of(const Case& test, int batch, int len_k) const;

  [[nodiscard]] const std::int32_t* device_page_table() const { return page_table_.as<std::int32_t>(); }

 private:
  [[nodiscard]] virtual bool has_lse() const = 0;

  cuda::DeviceBuffer alibi_slopes_;
  cuda::DeviceBuffer sinks_;
  cuda::DeviceBuffer page_table_;
};

/// Only k and v may repeat their data; q is then dense, so that sequences differ.
inline Layout without_broadcast(Layout layout) { return layout == Layout::broadcast ? Layout::bshd : layout; }

template <class Args, class Case>
Args CallTensors::args_of(const Case& test, int batch) const {
  Args call;
  call.q = q.input();
  call.out = out.output();
  if (test.lse) call.lse = lse.data();
  call.batch = batch;
  call.len_q = test.len_q;
  call.heads_q = test.heads_q;
  call.heads_kv = test.heads_kv;
  call.scale = test.scale;
  call.window_left = test.window_left;
  call.window_right = test.window_right;
  call.lse_base2 = test.lse_base2;
  if (test.config.softcap) call.softcap = test.softcap;
  call.alibi_slopes = alibi_slopes_.as<float>();
  if (test.slopes_per_sequence) call.alibi_batch_stride = test.heads_q;
  call.sinks = sinks_.as<float>();
  if (test.config.bias != Bias::none) call.bias = bias.input();
  return call;
}

template <class Case>
Problem CallTensors::problem_of(const Case& test, int batch, int len_k) const {
  const float usual_scale = 1 / std::sqrt(static_cast<float>(test.config.head_dim_qk));
  return {.config = test.config,
          .batch = batch,
          .len_q = test.len_q,
          .len_k = len_k,
          .heads_q = test.heads_q,
          .heads_kv = test.heads_kv,
          .scale = test.scale.value_or(usual_scale),
          .window_left = test.window_left,
          .window_right = test.window_right,
          .q = q.view(),
          .k = k.view(),
          .v = v.view(),
          .lse_base2 = test.lse_base2,
          .softcap = test.softcap,
          .alibi_slopes = alibi_slopes,
          .sinks = sinks,
          .bias = bias.view(),
          .page_table = page_table,
          .page_size = test.page_size};
}

}  // namespace kiln::test
