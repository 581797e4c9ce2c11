#pragma once

#include "cuda/device_memory.hpp"
#include "gpu/call_case.hpp"
#include "gpu/tensor.hpp"
#include "support/random.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

/// What forward and decode calls have in common: results and random inputs.
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

/// A tensor that lies as the problem says: random where a sequence has a row, NaN elsewhere.
void fill_queries(Tensor& tensor, const Problem& problem, std::uint64_t seed);
void fill_keys(Tensor& tensor, const Problem& problem, std::uint64_t seed);

std::vector<float> random_slopes(std::size_t count, std::uint64_t seed);
std::vector<float> random_sinks(int heads, std::uint64_t seed);

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// A page that doesn't exist.
inline constexpr std::int32_t kNoPage = std::numeric_limits<std::int32_t>::max();

/// Pages 0 … count − 1 in random order, each once, but for some that come a second time.
class PageDealer {
 public:
  PageDealer(int count, std::uint64_t seed);
  std::int32_t next();

 private:
  std::vector<std::int32_t> pages_;
  std::size_t used_ = 0;
  Draw draw_;
};

/// A bias or mask over [batch, heads_q, len_q, len_k]: random for the keys that sequences have, some hidden and some
/// rows hiding all; NaN elsewhere. Rows have a gap after each, and sides that aren't there a stride of 0.
class BiasTensor {
 public:
  BiasTensor() = default;
  BiasTensor(const Problem& problem, const BiasShape& shape, std::uint64_t seed);

  /// A score, or whether a mask shows the key.
  void put(int batch, int head, int i, int j, float value);
  void upload();
  [[nodiscard]] View view() const;
  [[nodiscard]] BiasInput input() const;

 private:
  void fill(const Problem& problem, const BiasShape& shape, std::uint64_t seed);
  void put(std::int64_t element, float value);
  /// The first element is left out: a bias is aligned as its elements are.
  [[nodiscard]] std::ptrdiff_t first_byte() const;

  Bias kind_ = Bias::none;
  DType dtype_ = DType::bf16;
  Strides strides_;
  std::vector<std::byte> host_;
  cuda::DeviceBuffer device_;
};

}  // namespace kiln::test
