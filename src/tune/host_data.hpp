#pragma once

#include "tune/problem.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace kiln::tune {

/// Fills with the bits of normally distributed numbers. The same seed gives the same bits on every
/// machine, however many threads work.
void fill_normal(std::span<std::uint16_t> bits, DType type, std::uint64_t seed);

/// The tensors of one call on the host, as the bits that go to the GPU.
struct HostInputs {
  std::vector<std::uint16_t> q;       ///< [batch, len_q, heads_q, head_dim_qk]
  std::vector<std::uint16_t> k;       ///< [batch, len_k, heads_kv, head_dim_qk]
  std::vector<std::uint16_t> v;       ///< [batch, len_k, heads_kv, head_dim_v]
  std::vector<std::int32_t> lengths;  ///< decode only, [batch]: valid keys; empty: all
};

/// Random tensors; a decode problem gets lengths between 1 and len_k, the first one full.
HostInputs random_inputs(const Problem& problem, std::uint64_t seed);

}  // namespace kiln::tune
