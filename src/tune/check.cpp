#include "tune/check.hpp"

#include "tune/half.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace kiln::tune {
namespace {

/// How far two values are apart; infinite if one is not finite and they are not the same.
double distance(double got, double expected) {
  if (std::isnan(got) || std::isnan(expected)) return std::isnan(got) && std::isnan(expected) ? 0 : INFINITY;
  if (got == expected) return 0;
  return std::isfinite(got) && std::isfinite(expected) ? std::abs(got - expected) : INFINITY;
}

double largest_distance(std::span<const double> a, std::span<const double> b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, distance(a[i], b[i]));
  return largest;
}

/// What one rounding to the output's type may cost near these values.
double rounding_slack(std::span<const double> values, DType type) {
  constexpr double kShift = 0.3;
  double largest = 0;
  for (const double x : values) {
    const double back = static_cast<double>(rounded(static_cast<float>(x + kShift), type)) - kShift;
    largest = std::max(largest, std::abs(back - x));
  }
  return 2 * largest;
}

std::size_t out_row(const Problem& problem, const Row& row) {
  const auto token = static_cast<std::size_t>(row.batch) * static_cast<std::size_t>(problem.len_q) +
                     static_cast<std::size_t>(row.query);
  return token * static_cast<std::size_t>(problem.heads_q) + static_cast<std::size_t>(row.head);
}

std::size_t lse_index(const Problem& problem, const Row& row) {
  const auto head = static_cast<std::size_t>(row.batch) * static_cast<std::size_t>(problem.heads_q) +
                    static_cast<std::size_t>(row.head);
  return head * static_cast<std::size_t>(problem.len_q) + static_cast<std::size_t>(row.query);
}

double lse_limit(double reference) { return 1e-3 + 0x1p-20 * (std::isfinite(reference) ? std::abs(reference) : 0); }

void check_out(const Expectation& expected, const HostOutputs& outputs, std::size_t r, CheckResult& result) {
  const Problem& problem = expected.problem;
  const Row& row = expected.rows[r];
  const auto dim = static_cast<std::size_t>(problem.request.config.head_dim_v);
  for (std::size_t i = 0; i < dim; ++i) {
    const auto got = static_cast<double>(outputs.out[out_row(problem, row) * dim + i]);
    const double exact = expected.exact.out[r * dim + i];
    const double error = distance(got, exact);
    result.error = std::max(result.error, error);
    if (error > expected.limit && result.first_wrong.empty()) {
      result.first_wrong = fmt::format("batch {}, query {}, head {}, dim {}: got {:.6g}, expected {:.6g}", row.batch,
                                       row.query, row.head, i, got, exact);
    }
  }
}

}  // namespace

std::vector<Row> rows_to_check(const Problem& problem, std::size_t most_rows) {
  // Rows of one sequence and head stay together: the reference unpacks keys and values once for them.
  const std::size_t total = problem.rows();
  const std::size_t count = std::min(total, std::max<std::size_t>(1, most_rows));
  std::vector<Row> rows;
  rows.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t flat = count == 1 ? 0 : i * (total - 1) / (count - 1);
    const auto queries = static_cast<std::size_t>(problem.len_q);
    const auto heads = static_cast<std::size_t>(problem.heads_q);
    rows.push_back({static_cast<int>(flat / (queries * heads)), static_cast<int>(flat % queries),
                    static_cast<int>(flat / queries % heads)});
  }
  return rows;
}

double allowed_error(const RowValues& naive, const RowValues& exact, DType output) {
  return 2 * largest_distance(naive.out, exact.out) + 1e-5 + rounding_slack(exact.out, output);
}

Expectation expect(const Problem& problem, const HostInputs& inputs, std::vector<Row> rows) {
  std::erase_if(rows, [&](const Row& row) { return row.query >= lengths_of(problem, inputs, row.batch).q; });
  RowValues exact = attention_float64(problem, inputs, rows);
  const double limit =
      allowed_error(attention_naive(problem, inputs, rows), exact, output_type(problem.request.config));
  return {problem, std::move(rows), std::move(exact), limit};
}

CheckResult check(const Expectation& expected, const HostOutputs& outputs) {
  const Problem& problem = expected.problem;
  CheckResult result;
  result.rows = expected.rows.size();
  result.limit = expected.limit;
  for (std::size_t r = 0; r < expected.rows.size(); ++r) {
    check_out(expected, outputs, r, result);
    const Row& row = expected.rows[r];
    const double exact = expected.exact.lse[r];
    const auto lse = static_cast<double>(outputs.lse[lse_index(problem, row)]);
    const double lse_error = distance(lse, exact) / lse_limit(exact);
    result.lse_error = std::max(result.lse_error, lse_error);
    if (lse_error > 1 && result.first_wrong.empty()) {
      result.first_wrong = fmt::format("batch {}, query {}, head {}: LSE {:.6g}, expected {:.6g}", row.batch, row.query,
                                       row.head, lse, exact);
    }
  }
  result.passed = result.first_wrong.empty();
  return result;
}

}  // namespace kiln::tune
