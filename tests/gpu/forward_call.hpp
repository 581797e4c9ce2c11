#pragma once

#include "gpu/forward_case.hpp"
#include "gpu/gpu.hpp"
#include "support/compare.hpp"

#include <string>
#include <vector>

namespace kiln::test {

/// The command that runs the current test alone.
std::string repro();

/// A number per row that the kernel writes, all NaN before, with more NaN behind the end.
class LseBuffer {
 public:
  explicit LseBuffer(std::size_t rows) : rows_(rows) {}
  /// Makes or clears the device's memory.
  void upload();
  [[nodiscard]] float* data() const { return device_.as<float>(); }
  /// The rows; a failure of the current test if the memory behind them was written.
  [[nodiscard]] std::vector<float> download() const;

 private:
  std::size_t rows_;
  cuda::DeviceBuffer device_;
};

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

  /// An element of the bias (config.bias): a score, or whether a mask shows the key.
  void put_bias(int batch, int head, int i, int j, float value);

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
  std::vector<std::byte> bias;
  std::vector<std::int32_t> page_table;
  std::int64_t page_row_stride = 0;

 private:
  [[nodiscard]] Shape query_shape(int dim) const;
  [[nodiscard]] Shape key_shape(int dim) const;
  [[nodiscard]] Strides bias_strides() const;
  void make_page_table();
  void fill_queries(std::uint64_t seed);
  void fill_keys(Tensor& tensor, std::uint64_t seed) const;
  void fill_bias(std::uint64_t seed);
  void put_bias(std::int64_t element, float value);

  struct DeviceLists {
    cuda::DeviceBuffer alibi_slopes, sinks, bias, page_table, cu_q, cu_k, used_q, used_k;
  };
  DeviceLists device_;
};

}  // namespace kiln::test
