#pragma once

#include "gpu/forward_case.hpp"

#include <kiln/runtime.hpp>

#include <cstdint>
#include <vector>

namespace kiln::test {

/// Any two choices of types, head dims, mask, features, lengths' addressing, page size, heads, lengths and layout
/// occur together in some case.
std::vector<ForwardCase> pairwise_cases();

/// The kernels of those again, each with geometry that no list holds.
std::vector<ForwardCase> random_cases();

/// A case of any kernel; each sixteen neighbouring seeds share one.
ForwardCase random_case(std::uint64_t seed);

/// The kernels of some cases, each once.
std::vector<KernelRequest> kernels_of(const std::vector<ForwardCase>& cases);

}  // namespace kiln::test
