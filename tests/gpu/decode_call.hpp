#pragma once

#include "gpu/forward_call.hpp"

#include <string>
#include <vector>

namespace kiln::test {

/// All that says what a decode test does.
struct DecodeCase {
  AttentionConfig config{};
  int max_len_k = 256;
  int heads_q = 8;
  int heads_kv = 2;
  std::vector<std::int32_t> lengths = {256};  ///< one a sequence: how many there are is the batch
  bool pass_lengths = true;                   ///< false: a null pointer, which means max_len_k
  int window_left = -1;
  int num_splits = 0;
  Layout layout = Layout::bshd;
  bool lse = true;
};

/// "bf16_d128_n1024_1_7_1024_h8x2_splits3_bhsd_lse"
std::string name_of(const DecodeCase& test);
void PrintTo(const DecodeCase& test, std::ostream* out);

/// Tensors of one decode call. Cache rows beyond a sequence's length hold NaN.
class DecodeCall {
 public:
  explicit DecodeCall(const DecodeCase& test);

  void upload();
  /// Asks for the workspace if there is none yet.
  void launch(Stream stream, const Runtime& runtime = Gpu::runtime());
  [[nodiscard]] ::testing::AssertionResult matches_reference();
  /// The same against a judge made before, where many calls share one.
  [[nodiscard]] ::testing::AssertionResult matches(const Judge& judge);

  /// Puts other lengths where the kernel reads them. The host's NaN tails stay as they were made.
  void set_lengths(const std::vector<std::int32_t>& lengths);

  [[nodiscard]] DecodeArgs args() const;
  [[nodiscard]] Problem problem() const;
  [[nodiscard]] int batch() const { return static_cast<int>(test.lengths.size()); }

  DecodeCase test;
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor out;
  LseBuffer lse;
  cuda::DeviceBuffer lengths;
  cuda::DeviceBuffer workspace;

 private:
  void spoil_tails(Tensor& cache) const;
};

}  // namespace kiln::test
