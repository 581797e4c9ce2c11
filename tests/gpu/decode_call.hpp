#pragma once

#include "gpu/call_tensors.hpp"
#include "gpu/decode_case.hpp"

#include <vector>

namespace kiln::test {

/// One decode call.
class DecodeCall final : public CallTensors {
 public:
  explicit DecodeCall(const DecodeCase& test);

  void upload();
  /// Asks for the workspace if there is none yet.
  void launch(Stream stream, const Runtime& runtime = Gpu::runtime());

  /// Puts the lists of another case, each as long as before, where the kernel reads them, and clears the results. What
  /// tensors and page table hold stays.
  void set_lists(const DecodeCase& changed);
  void set_lengths(const std::vector<std::int32_t>& lengths);
  /// The page table as it is on the host now.
  using CallTensors::upload_page_table;

  [[nodiscard]] DecodeArgs args() const;
  [[nodiscard]] Problem problem() const override;
  [[nodiscard]] int batch() const { return test.batch(); }

  DecodeCase test;
  std::vector<std::uint32_t> tree;
  cuda::DeviceBuffer workspace;

 private:
  [[nodiscard]] bool has_lse() const override { return test.lse; }
  [[nodiscard]] std::int64_t page_row_stride() const;
  [[nodiscard]] std::int64_t tree_row_stride() const;
  [[nodiscard]] std::int64_t tree_batch_stride() const;
  void make_page_table(std::uint64_t seed);
  void make_tree(std::uint64_t seed);

  struct DeviceLists {
    cuda::DeviceBuffer lengths, cu_q, used_q, cache_rows, left_padding, indptr, last_page_len, tree;
  };
  DeviceLists device_;
};

}  // namespace kiln::test
