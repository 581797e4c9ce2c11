#include "tune/host_data.hpp"

#include "tune/half.hpp"
#include "tune/parallel.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace kiln::tune {
namespace {

/// SplitMix64: every index has its own number, so threads need no common state.
std::uint64_t mix(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9E37'79B9'7F4A'7C15U;
  z = (z ^ (z >> 30U)) * 0xBF58'476D'1CE4'E5B9U;
  z = (z ^ (z >> 27U)) * 0x94D0'49BB'1331'11EBU;
  return z ^ (z >> 31U);
}

/// Normal numbers are drawn from a table: caches of gigabytes must be filled in seconds.
std::vector<std::uint16_t> normal_table(DType type) {
  constexpr std::size_t kEntries = std::size_t{1} << 16U;
  std::vector<std::uint16_t> table(kEntries);
  for (std::size_t i = 0; i < kEntries; ++i) {
    const double u = (static_cast<double>(mix(1, i) >> 11U) + 1) * 0x1p-53;
    const double angle = 2 * std::numbers::pi * static_cast<double>(mix(2, i) >> 11U) * 0x1p-53;
    table[i] = to_bits(static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(angle)), type);
  }
  return table;
}

}  // namespace

void fill_normal(std::span<std::uint16_t> bits, DType type, std::uint64_t seed) {
  constexpr std::size_t kChunk = std::size_t{1} << 20U;
  const std::vector<std::uint16_t> table = normal_table(type);
  parallel_for((bits.size() + kChunk - 1) / kChunk, [&](std::size_t chunk) {
    const std::size_t end = std::min(bits.size(), (chunk + 1) * kChunk);
    for (std::size_t i = chunk * kChunk; i < end; i += 4) {
      std::uint64_t draw = mix(seed, i);
      for (std::size_t j = i; j < std::min(end, i + 4); ++j, draw >>= 16U) bits[j] = table[draw & 0xFFFFU];
    }
  });
}

HostInputs random_inputs(const Problem& problem, std::uint64_t seed) {
  const DType type = problem.request.config.dtype;
  HostInputs inputs;
  inputs.q.resize(problem.q_elements());
  inputs.k.resize(problem.k_elements());
  inputs.v.resize(problem.v_elements());
  fill_normal(inputs.q, type, mix(seed, 0));
  fill_normal(inputs.k, type, mix(seed, 1));
  fill_normal(inputs.v, type, mix(seed, 2));
  if (problem.request.kind == KernelKind::decode) {
    inputs.lengths.resize(static_cast<std::size_t>(problem.batch), problem.len_k);
    for (std::size_t b = 1; b < inputs.lengths.size(); ++b) {
      inputs.lengths[b] = 1 + static_cast<std::int32_t>(mix(seed, 16 + b) % static_cast<std::uint64_t>(problem.len_k));
    }
  }
  return inputs;
}

}  // namespace kiln::tune
