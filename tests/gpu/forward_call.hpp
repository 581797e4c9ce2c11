#pragma once

#include "gpu/gpu.hpp"
#include "gpu/tensor.hpp"
#include "support/compare.hpp"

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace kiln::test {

/// All that says what a forward test does. Its name says it too, and gives the seed of the data.
struct ForwardCase {
  AttentionConfig config{};
  int batch = 1;
  int len_q = 128;
  int len_k = 128;
  int heads_q = 2;
  int heads_kv = 2;
  int window_left = -1;
  int window_right = -1;
  Layout layout = Layout::bshd;
  bool lse = true;
  std::optional<float> scale{};
};

/// "bf16_d64x128_causal_b2_q113_k239_h6x2_padded_lse"
std::string name_of(const AttentionConfig& config);
std::string name_of(const ForwardCase& test);
void PrintTo(const ForwardCase& test, std::ostream* out);

/// The command that runs the current test alone.
std::string repro();

/// A number per row that the kernel writes, with NaN behind its end.
class LseBuffer {
 public:
  explicit LseBuffer(std::size_t rows);
  [[nodiscard]] float* data() const { return device_.as<float>(); }
  /// The rows; a failure of the current test if the memory behind them was written.
  [[nodiscard]] std::vector<float> download() const;

 private:
  std::size_t rows_;
  cuda::DeviceBuffer device_;
};

/// Tensors of one call, filled with random data on the host. Change them, then upload().
class ForwardCall {
 public:
  explicit ForwardCall(const ForwardCase& test);

  void upload();
  void launch(Stream stream, const Runtime& runtime = Gpu::runtime()) const;
  /// Against the reference, on the host data that q, k and v hold now. Waits for the GPU.
  [[nodiscard]] ::testing::AssertionResult matches_reference();

  [[nodiscard]] ForwardArgs args() const;
  [[nodiscard]] Problem problem() const;

  ForwardCase test;
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor out;
  LseBuffer lse;
};

}  // namespace kiln::test
