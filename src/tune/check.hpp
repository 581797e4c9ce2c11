#pragma once

#include "tune/reference.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace kiln::tune {

/// What a kernel wrote.
struct HostOutputs {
  std::vector<float> out;  ///< [batch, len_q, heads_q, head_dim_v], of what type they may be on the device
  std::vector<float> lse;  ///< [batch, heads_q, len_q]
};

struct CheckResult {
  bool passed = false;
  std::size_t rows = 0;     ///< how many were compared
  double error = 0;         ///< max|out − reference|
  double limit = 0;         ///< what it may be
  double lse_error = 0;     ///< the largest, in units of what it may be
  std::string first_wrong;  ///< "batch 0, query 3, head 1, dim 5: got 1.5, expected 0.25"; empty if passed
};

/// Every row where that is quick, else `most_rows` of them spread over the problem, first and last
/// included.
std::vector<Row> rows_to_check(const Problem& problem, std::size_t most_rows);

/// What a kernel should write for some rows, and how far off it may be.
struct Expectation {
  Problem problem;
  std::vector<Row> rows;
  RowValues exact;
  double limit = 0;
};

/// 2·max|naive − exact| + 1e-5 and one rounding of the output's type.
double allowed_error(const RowValues& naive, const RowValues& exact, DType output);

/// The float64 reference, for those of the rows that the call writes. An output may be off by 2·max|naive − reference|
/// + 1e-5 and one rounding of its type.
Expectation expect(const Problem& problem, const HostInputs& inputs, std::vector<Row> rows);

/// |out − reference| ≤ the limit; |lse − reference| ≤ 1e-3 + 2⁻²⁰·|reference|; NaN and infinity only
/// where the reference has them.
CheckResult check(const Expectation& expected, const HostOutputs& outputs);

}  // namespace kiln::tune
