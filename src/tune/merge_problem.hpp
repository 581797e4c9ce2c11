#pragma once

#include "tune/check.hpp"
#include "tune/measure.hpp"

#include <kiln/merge.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace kiln::tune {

/// One merge to check or to time. States lie dense, [batch, len, heads, head_dim_v], and one row in seven of each is
/// empty.
struct MergeProblem {
  MergeConfig config{};
  int states = 2;
  int batch = 1;
  int len = 1;
  int heads = 1;

  [[nodiscard]] std::size_t rows() const;
};

/// Every shape sensible, or Error(invalid_argument) with the value and the limit.
void validate(const MergeProblem& problem);

/// What must be read and written.
double bytes(const MergeProblem& problem);

/// "2 states, 8×1×32 rows".
std::string shape_text(const MergeProblem& problem);

/// Merges random states and compares up to `most_rows` rows with float64. An output may be off by twice the error of
/// float32 step by step, 1e-5 and one rounding of its type.
CheckResult check_merge(const Gpu& gpu, const KernelPtr& kernel, const MergeProblem& problem, std::size_t most_rows,
                        std::uint64_t seed);

/// Microseconds of one merge, ten in a row out of a graph that find nothing of theirs in L2.
Summary measure_merge(const Gpu& gpu, Timer& timer, const KernelPtr& kernel, const MergeProblem& problem, int samples,
                      std::uint64_t seed, const std::function<void(int done)>& progress = {});

}  // namespace kiln::tune
