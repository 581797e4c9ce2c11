#pragma once

#include "tune/host_data.hpp"
#include "tune/problem.hpp"

#include <span>
#include <vector>

namespace kiln::tune {

/// One row of the output: which query of which head of which sequence.
struct Row {
  int batch = 0;
  int query = 0;
  int head = 0;
};

/// What attention gives for some rows.
struct RowValues {
  std::vector<double> out;  ///< [rows, head_dim_v]
  std::vector<double> lse;  ///< [rows], natural logarithm; −inf for a row that sees neither key nor sink
};

/// Attention as its definition says it, in float64.
RowValues attention_float64(const Problem& problem, const HostInputs& inputs, std::span<const Row> rows);

/// The same, every intermediate tensor rounded to the inputs' type: the yardstick of what rounding
/// alone costs.
RowValues attention_naive(const Problem& problem, const HostInputs& inputs, std::span<const Row> rows);

}  // namespace kiln::tune
