#pragma once

#include "tune/problem.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kiln::tune {

/// Fills a tensor of the type with normally distributed numbers. The same seed gives the same bits on every
/// machine, however many threads work.
void fill_normal(std::span<std::byte> tensor, DType type, std::uint64_t seed);

/// Fills a boolean mask: an eighth of the bytes are 0.
void fill_mask(std::span<std::byte> mask, std::uint64_t seed);

/// As many lengths of 1 … most, Zipf-like: all orders of magnitude are equally likely, so that few are long.
std::vector<std::int32_t> zipf_lengths(int count, int most, std::uint64_t seed);

/// Low enough to bend the scores of normally distributed numbers.
inline constexpr float kSoftcap = 1.5F;

/// The tensors of one call on the host, as the bits that go to the GPU.
struct HostInputs {
  std::vector<std::byte> q{};             ///< [batch, len_q, heads_q, head_dim_qk]
  std::vector<std::byte> k{};             ///< [batch, len_k, heads_kv, head_dim_qk], or pages
  std::vector<std::byte> v{};             ///< [batch, len_k, heads_kv, head_dim_v], or pages
  std::vector<std::int32_t> lengths{};    ///< decode or ragged, [batch]: valid keys; empty: all
  std::vector<std::int32_t> lengths_q{};  ///< ragged, [batch]: queries; empty: all
  std::vector<std::int32_t> pages{};      ///< paged, [batch, pages_of_a_sequence()]
  std::vector<float> alibi_slopes{};      ///< [heads_q]
  std::vector<float> sinks{};             ///< [heads_q]
  std::vector<std::byte> bias{};          ///< additive: [heads_q, len_q, len_k]; a mask: [batch, len_q, len_k]
};

/// Random tensors. Lengths that the problem leaves open lie between 1 and the most, the first one full.
HostInputs random_inputs(const Problem& problem, std::uint64_t seed);

/// The same without q, k, v and the bias, and with full lengths where the problem leaves them open.
HostInputs small_inputs(const Problem& problem, std::uint64_t seed);

/// What sequence `batch` has.
Lengths lengths_of(const Problem& problem, const HostInputs& inputs, int batch);

}  // namespace kiln::tune
