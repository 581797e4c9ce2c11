#pragma once

#include "gpu/call_tensors.hpp"
#include "gpu/forward_case.hpp"

namespace kiln::test {

/// One forward call.
class ForwardCall final : public CallTensors {
 public:
  explicit ForwardCall(const ForwardCase& test);

  void upload();
  void launch(Stream stream, const Runtime& runtime = Gpu::runtime()) const;

  /// Puts other lengths where the kernel reads them, and clears the results. Lists stay as long as they were; what the
  /// tensors hold stays, too.
  void set_sequences(const SequenceCase& sequences);

  [[nodiscard]] ForwardArgs args() const;
  [[nodiscard]] Problem problem() const override;

  ForwardCase test;
  std::int64_t page_row_stride = 0;

 private:
  [[nodiscard]] bool has_lse() const override { return test.lse; }
  void make_page_table(std::uint64_t seed);

  struct DeviceLists {
    cuda::DeviceBuffer cu_q, cu_k, used_q, used_k;
  };
  DeviceLists device_;
};

}  // namespace kiln::test
