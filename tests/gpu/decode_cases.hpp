#pragma once

#include "gpu/decode_case.hpp"

#include <kiln/runtime.hpp>

#include <cstdint>
#include <vector>

namespace kiln::test {

/// Any two choices of types, head dims, rows of a tile, mask, features, addressing of queries and cache, page size,
/// heads, lengths, layout and splits occur together in some case.
std::vector<DecodeCase> pairwise_decode_cases();

/// The kernels of those again, each with geometry that no list holds.
std::vector<DecodeCase> random_decode_cases();

/// A case of any kernel; each sixteen neighbouring seeds share one.
DecodeCase random_decode_case(std::uint64_t seed);

/// The kernels of some cases, each once.
std::vector<KernelRequest> kernels_of(const std::vector<DecodeCase>& cases);

/// What the cases ask a Runtime for, each once: it keeps a kernel under every config that shares it.
std::vector<KernelRequest> requests_of(const std::vector<DecodeCase>& cases);

}  // namespace kiln::test
