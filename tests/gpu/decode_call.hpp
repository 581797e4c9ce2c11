#pragma once

#include "gpu/call_data.hpp"
#include "gpu/decode_case.hpp"
#include "gpu/gpu.hpp"
#include "support/compare.hpp"

#include <vector>

namespace kiln::test {

/// Tensors and lists of one decode call, filled with random data on the host. What no sequence has, in the caches, Q,
/// bias and the page table, is NaN or no page. Change them, then upload().
class DecodeCall {
 public:
  explicit DecodeCall(const DecodeCase& test);

  void upload();
  /// Asks for the workspace if there is none yet.
  void launch(Stream stream, const Runtime& runtime = Gpu::runtime());
  /// Against the reference, on the host data that the tensors hold now. Waits for the GPU.
  [[nodiscard]] ::testing::AssertionResult matches_reference();
  /// The same against a judge made before, where many calls share one.
  [[nodiscard]] ::testing::AssertionResult matches(const Judge& judge);

  /// Puts the lists of another case, each as long as before, where the kernel reads them, and clears the results. What
  /// tensors and page table hold stays.
  void set_lists(const DecodeCase& changed);
  void set_lengths(const std::vector<std::int32_t>& lengths);
  /// The page table as it is on the host now.
  void upload_page_table();

  [[nodiscard]] DecodeArgs args() const;
  [[nodiscard]] Problem problem() const;
  [[nodiscard]] int batch() const { return test.batch(); }

  DecodeCase test;
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor out;
  LseBuffer lse;
  std::vector<float> alibi_slopes;
  std::vector<float> sinks;
  BiasTensor bias;
  std::vector<std::uint32_t> tree;
  std::vector<std::int32_t> page_table;
  cuda::DeviceBuffer workspace;

 private:
  [[nodiscard]] Shape query_shape(int dim) const;
  [[nodiscard]] Shape cache_shape(int dim) const;
  [[nodiscard]] std::int64_t page_row_stride() const;
  [[nodiscard]] std::int64_t tree_row_stride() const;
  [[nodiscard]] std::int64_t tree_batch_stride() const;
  void make_page_table(std::uint64_t seed);
  void make_tree(std::uint64_t seed);

  struct DeviceLists {
    cuda::DeviceBuffer lengths, cu_q, used_q, cache_rows, left_padding, page_table, indptr, last_page_len;
    cuda::DeviceBuffer alibi_slopes, sinks, tree;
  };
  DeviceLists device_;
};

}  // namespace kiln::test
