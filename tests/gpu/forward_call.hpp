#pragma once

#include "gpu/call_data.hpp"
#include "gpu/gpu.hpp"
#include "support/compare.hpp"

#include <string>
#include <vector>

namespace kiln::test {

/// Tensors and lists of one call, filled with random data on the host. What no sequence has, in K, V, Q, bias and the
/// page table, is NaN or no page. Change them, then upload().
class ForwardCall {
 public:
  explicit ForwardCall(const ForwardCase& test);

  void upload();
  void launch(Stream stream, const Runtime& runtime = Gpu::runtime()) const;
  /// Against the reference, on the host data that q, k and v hold now. Waits for the GPU.
  [[nodiscard]] ::testing::AssertionResult matches_reference();
  /// The same against a judge made before.
  [[nodiscard]] ::testing::AssertionResult matches(const Judge& judge);

  /// Puts other lengths where the kernel reads them, and clears the results. Lists stay as long as they were; what the
  /// tensors hold stays, too.
  void set_sequences(const SequenceCase& sequences);

  [[nodiscard]] ForwardArgs args() const;
  [[nodiscard]] Problem problem() const;

  ForwardCase test;
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor out;
  LseBuffer lse;
  std::vector<float> alibi_slopes;
  std::vector<float> sinks;
  BiasTensor bias;
  std::vector<std::int32_t> page_table;
  std::int64_t page_row_stride = 0;

 private:
  [[nodiscard]] Shape query_shape(int dim) const;
  [[nodiscard]] Shape key_shape(int dim) const;
  void make_page_table();

  struct DeviceLists {
    cuda::DeviceBuffer alibi_slopes, sinks, page_table, cu_q, cu_k, used_q, used_k;
  };
  DeviceLists device_;
};

}  // namespace kiln::test
