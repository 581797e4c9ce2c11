#pragma once

#include "gpu/call_data.hpp"
#include "gpu/gpu.hpp"
#include "gpu/tensor.hpp"

#include <kiln/merge.hpp>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace kiln::test {

/// All that says what a merging test does.
struct MergeCase {
  MergeConfig config{};
  int states = 2;
  int batch = 2;
  int len = 3;
  int heads = 4;
  Layout layout = Layout::bshd;
  bool heads_first = false;  ///< LSEs as [heads, batch · len] in place of [batch, heads, len]
  bool lse = true;
  bool lse_base2 = false;
  bool in_place = false;  ///< the result lies where state 0 does
  float spread = 3;       ///< of the LSEs
  int one_in_empty = 4;   ///< of the rows of each state, whose out is NaN then; 0: none is
  std::uint64_t seed = 0;
};

/// "f32_bf16_d128_s2_b2_l3_h4_bshd_lse"
std::string name_of(const MergeCase& test);
void PrintTo(const MergeCase& test, std::ostream* out);

/// Every pair of types with every kind of head dim; all else is drawn.
std::vector<MergeCase> merge_cases();

/// What a merge should give, in float64, [batch, len, heads], and how far off it may be.
struct MergeTruth {
  std::vector<double> out;
  std::vector<double> lse;
  double allowed = 0;  ///< twice the error of float32 step by step, 1e-5, and one rounding of the result's type
};

/// States, filled with random data on the host, and the result of one call. Change them, then upload().
class MergeCall {
 public:
  explicit MergeCall(const MergeCase& test);

  void upload();
  void launch(Stream stream, const Runtime& runtime = Gpu::runtime()) const;
  /// With as many states as one call takes.
  [[nodiscard]] MergeArgs args() const;
  [[nodiscard]] PartialState state(std::size_t index) const;
  [[nodiscard]] LseOutput lse_of_state(std::size_t index) const;
  /// Of what the states hold on the host.
  [[nodiscard]] MergeTruth truth() const;
  /// Against the truth of the states as they were uploaded. Waits for the GPU.
  [[nodiscard]] ::testing::AssertionResult matches_reference();
  /// Bits of the result, out and LSE. Waits for the GPU.
  [[nodiscard]] std::vector<std::byte> result();

  [[nodiscard]] std::size_t rows() const;
  [[nodiscard]] float& lse_of(int state, int b, int i, int head);
  [[nodiscard]] Strides lse_strides() const;
  [[nodiscard]] std::size_t lse_at(int b, int i, int head) const;

  MergeCase test;
  std::vector<Tensor> states;
  std::vector<std::vector<float>> lses;
  Tensor out;
  LseBuffer lse;

 private:
  template <class Visit>
  void for_each_row(const Visit& visit) const;
  [[nodiscard]] Tensor& written() { return test.in_place ? states[0] : out; }
  [[nodiscard]] std::vector<float> written_lse() const;

  MergeTruth truth_;  ///< as uploaded: a result in place writes over a state
  std::vector<cuda::DeviceBuffer> device_lses_;
};

}  // namespace kiln::test
