#pragma once

#include <cstdint>
#include <vector>

namespace kiln::test {

/// Rows of choices such that any two choices of any two dimensions occur together in some row, in few
/// rows. `sizes` says how many choices each dimension has; row[d] is in [0, sizes[d]). The same seed
/// gives the same rows.
std::vector<std::vector<int>> pairwise_cover(const std::vector<int>& sizes, std::uint64_t seed);

}  // namespace kiln::test
