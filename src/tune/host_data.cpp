#include "tune/host_data.hpp"

#include "plan/kernel_config.hpp"
#include "tune/half.hpp"
#include "tune/parallel.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>
#include <utility>

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
constexpr std::size_t kEntries = std::size_t{1} << 16U;

std::vector<std::byte> normal_table(DType type) {
  std::vector<std::byte> table(kEntries * static_cast<std::size_t>(plan::element_bytes(type)));
  for (std::size_t i = 0; i < kEntries; ++i) {
    const double u = (static_cast<double>(mix(1, i) >> 11U) + 1) * 0x1p-53;
    const double angle = 2 * std::numbers::pi * static_cast<double>(mix(2, i) >> 11U) * 0x1p-53;
    store_element(table, i, static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(angle)), type);
  }
  return table;
}

/// Every element one of the table's; four are drawn at once.
template <std::size_t kBytes>
void fill_from_table(std::span<std::byte> tensor, std::span<const std::byte> table, std::uint64_t seed) {
  constexpr std::size_t kChunk = std::size_t{1} << 20U;
  const std::size_t count = tensor.size() / kBytes;
  parallel_for((count + kChunk - 1) / kChunk, [&](std::size_t chunk) {
    const std::size_t end = std::min(count, (chunk + 1) * kChunk);
    for (std::size_t i = chunk * kChunk; i < end; i += 4) {
      std::uint64_t draw = mix(seed, i);
      for (std::size_t j = i; j < std::min(end, i + 4); ++j, draw >>= 16U) {
        std::memcpy(tensor.data() + j * kBytes, table.data() + (draw % kEntries) * kBytes, kBytes);
      }
    }
  });
}

std::vector<std::byte> normal_tensor(std::size_t elements, DType type, std::uint64_t seed) {
  std::vector<std::byte> tensor(elements * static_cast<std::size_t>(plan::element_bytes(type)));
  fill_normal(tensor, type, seed);
  return tensor;
}

/// Between 1 and `most`, the first one full.
std::vector<std::int32_t> even_lengths(int count, int most, std::uint64_t seed) {
  std::vector<std::int32_t> lengths(static_cast<std::size_t>(count), most);
  for (std::size_t b = 1; b < lengths.size(); ++b) {
    lengths[b] = 1 + static_cast<std::int32_t>(mix(seed, b) % static_cast<std::uint64_t>(most));
  }
  return lengths;
}

/// Every page once, in no order.
std::vector<std::int32_t> shuffled_pages(const Problem& problem, std::uint64_t seed) {
  std::vector<std::int32_t> pages(static_cast<std::size_t>(problem.batch) *
                                  static_cast<std::size_t>(problem.pages_of_a_sequence()));
  std::iota(pages.begin(), pages.end(), 0);
  for (std::size_t i = pages.size(); i > 1; --i) std::swap(pages[i - 1], pages[mix(seed, i) % i]);
  return pages;
}

/// 2^−8/h, 2^−16/h … 2^−8 for h heads.
std::vector<float> usual_slopes(int heads) {
  std::vector<float> slopes;
  for (int head = 1; head <= heads; ++head)
    slopes.push_back(std::exp2(-8.0F * static_cast<float>(head) / static_cast<float>(heads)));
  return slopes;
}

std::vector<float> normal_sinks(int heads, std::uint64_t seed) {
  const auto count = static_cast<std::size_t>(heads);
  const std::vector<std::byte> drawn = normal_tensor(count, DType::f32, seed);
  std::vector<float> sinks(count);
  for (std::size_t head = 0; head < count; ++head) sinks[head] = load_element(drawn, head, DType::f32);
  return sinks;
}

std::vector<std::byte> random_bias(const Problem& problem, std::uint64_t seed) {
  const AttentionConfig& config = problem.request.config;
  if (config.bias == Bias::additive) return normal_tensor(problem.bias_elements(), config.dtype, seed);
  std::vector<std::byte> mask(problem.bias_elements());
  fill_mask(mask, seed);
  return mask;
}

}  // namespace

void fill_normal(std::span<std::byte> tensor, DType type, std::uint64_t seed) {
  const std::vector<std::byte> table = normal_table(type);
  if (type == DType::f32) {
    fill_from_table<sizeof(float)>(tensor, table, seed);
  } else {
    fill_from_table<sizeof(std::uint16_t)>(tensor, table, seed);
  }
}

void fill_mask(std::span<std::byte> mask, std::uint64_t seed) {
  std::vector<std::byte> table(kEntries);
  for (std::size_t i = 0; i < kEntries; ++i) table[i] = std::byte{i % 8 == 0 ? std::uint8_t{0} : std::uint8_t{1}};
  fill_from_table<1>(mask, table, seed);
}

std::vector<std::int32_t> zipf_lengths(int count, int most, std::uint64_t seed) {
  std::vector<std::int32_t> lengths(static_cast<std::size_t>(count));
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    const double u = static_cast<double>(mix(seed, b) >> 11U) * 0x1p-53;
    lengths[b] = std::clamp(static_cast<std::int32_t>(std::pow(most + 1.0, u)), 1, most);
  }
  return lengths;
}

HostInputs random_inputs(const Problem& problem, std::uint64_t seed) {
  const AttentionConfig& config = problem.request.config;
  HostInputs inputs = small_inputs(problem, seed);
  if (problem.has_lengths() && problem.lengths.empty()) {
    inputs.lengths = even_lengths(problem.batch, problem.len_k, mix(seed, 3));
  }
  if (config.ragged) inputs.lengths_q = even_lengths(problem.batch, problem.len_q, mix(seed, 4));
  inputs.q = normal_tensor(problem.q_elements(), config.dtype, mix(seed, 0));
  inputs.k = normal_tensor(problem.k_elements(), config.dtype, mix(seed, 1));
  inputs.v = normal_tensor(problem.v_elements(), config.dtype, mix(seed, 2));
  if (config.bias != Bias::none) inputs.bias = random_bias(problem, mix(seed, 5));
  return inputs;
}

HostInputs small_inputs(const Problem& problem, std::uint64_t seed) {
  const AttentionConfig& config = problem.request.config;
  const auto batch = static_cast<std::size_t>(problem.batch);
  HostInputs inputs;
  inputs.lengths = problem.lengths;
  if (problem.has_lengths() && problem.lengths.empty()) inputs.lengths.assign(batch, problem.len_k);
  if (config.ragged) inputs.lengths_q.assign(batch, problem.len_q);
  if (config.paged) inputs.pages = shuffled_pages(problem, mix(seed, 6));
  if (config.alibi) inputs.alibi_slopes = usual_slopes(problem.heads_q);
  if (config.sinks) inputs.sinks = normal_sinks(problem.heads_q, mix(seed, 7));
  return inputs;
}

Lengths lengths_of(const Problem& problem, const HostInputs& inputs, int batch) {
  const auto b = static_cast<std::size_t>(batch);
  return {inputs.lengths_q.empty() ? problem.len_q : inputs.lengths_q[b],
          inputs.lengths.empty() ? problem.len_k : inputs.lengths[b]};
}

}  // namespace kiln::tune
