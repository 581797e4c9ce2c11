#include "support/compare.hpp"

#include "support/element.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kiln::test {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

namespace {

/// Both NaN, or the same infinity, or both finite.
bool same_kind(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (std::isinf(a) || std::isinf(b)) return a == b;
  return true;
}

/// Where the worst element stands and what is there.
struct Worst {
  double error = -1;
  std::string place;
};

/// Calls visit(row of the output, head, place in the dense results) for all rows, those that no sequence has included.
template <class Visit>
void for_each_row(const Problem& problem, const Visit& visit) {
  const bool packed = !problem.cu_seqlens_q.empty();
  const auto dim = static_cast<std::size_t>(problem.config.head_dim_v);
  std::size_t place = 0;
  for (int b = 0; b < (packed ? 1 : problem.batch); ++b)
    for (int i = 0; i < (packed ? problem.total_q : problem.len_q); ++i)
      for (int head = 0; head < problem.heads_q; ++head, place += dim) visit(b, i, head, place);
}

AssertionResult failure(std::string_view what, std::string_view repro) {
  return AssertionFailure() << what << "\n  repro: " << repro;
}

}  // namespace

Judge::Judge(const Problem& problem) : exact(reference(problem)), naive(test::naive(problem)) {
  for (std::size_t at = 0; at < exact.lse.size(); ++at)
    if (std::isfinite(exact.lse[at])) lse_error = std::max(lse_error, std::abs(naive.lse[at] - exact.lse[at]));
}

double allowed_error(const Problem& problem, const Judge& judge) {
  const DType type = output_type(problem.config);
  double naive = 0;
  double rounding = 0;
  for (std::size_t at = 0; at < judge.exact.out.size(); ++at) {
    const double exact = judge.exact.out[at];
    if (!std::isfinite(round_to(type, static_cast<float>(exact)))) continue;
    const double error = std::abs(judge.naive.out[at] - exact);
    if (!std::isfinite(error)) return std::nan("");
    naive = std::max(naive, error);
    const double shifted = round_to(type, static_cast<float>(exact + 0.3));
    rounding = std::max(rounding, std::abs(shifted - 0.3 - exact));
  }
  return 2 * naive + 1e-5 + 2 * rounding;
}

AssertionResult output_matches(const Problem& problem, const View& out, const Judge& judge, std::string_view repro) {
  const DType type = output_type(problem.config);
  const double allowed = allowed_error(problem, judge);
  if (std::isnan(allowed)) return failure("the naive computation overflows on this data: no bound", repro);
  std::string wrong_kind;
  Worst worst;
  for_each_row(problem, [&](int b, int i, int head, std::size_t place) {
    const std::int64_t row = out.offset(b, i, head);
    for (int c = 0; c < problem.config.head_dim_v; ++c) {
      const double exact = judge.exact.out[place + static_cast<std::size_t>(c)];
      const double got = load_element(type, out.data, row + c);
      const double rounded = round_to(type, static_cast<float>(exact));
      const auto name = [&] {
        return fmt::format("out[{}][{}][{}][{}] = {}, reference {}", b, i, head, c, got, exact);
      };
      if (!same_kind(got, rounded)) {
        if (wrong_kind.empty()) wrong_kind = name();
      } else if (std::isfinite(got) && std::abs(got - exact) > worst.error) {
        worst.error = std::abs(got - exact);
        if (worst.error > allowed) worst.place = name();
      }
    }
  });
  if (!wrong_kind.empty()) return failure(wrong_kind, repro);
  if (worst.error > allowed) {
    return failure(fmt::format("worst of all is {}: off by {:.3g}, allowed {:.3g}", worst.place, worst.error, allowed),
                   repro);
  }
  return AssertionSuccess();
}

namespace {

/// One TF32 pass errs by more than what other LSEs may.
double allowed_lse_error(const Problem& problem, const Judge& judge, std::size_t at) {
  const double exact = judge.exact.lse[at];
  const double usual = 1e-3 + std::abs(exact) * 0x1p-20;
  return problem.config.allow_tf32 ? usual + 2 * judge.lse_error : usual;
}

}  // namespace

AssertionResult lse_matches(const Problem& problem, std::span<const float> lse, const Judge& judge,
                            std::string_view repro) {
  const std::vector<double>& exact = judge.exact.lse;
  if (lse.size() != exact.size()) return failure(fmt::format("{} LSEs, reference {}", lse.size(), exact.size()), repro);
  for (std::size_t at = 0; at < exact.size(); ++at) {
    const double got = lse[at];
    const bool near = !std::isfinite(exact[at]) || std::abs(got - exact[at]) <= allowed_lse_error(problem, judge, at);
    if (same_kind(got, exact[at]) && near) continue;
    const auto rows = static_cast<std::size_t>(problem.cu_seqlens_q.empty() ? problem.len_q : problem.total_q);
    const auto heads = static_cast<std::size_t>(problem.heads_q);
    return failure(fmt::format("lse[{}][{}][{}] = {}, reference {}", at / rows / heads, at / rows % heads, at % rows,
                               got, exact[at]),
                   repro);
  }
  return AssertionSuccess();
}

}  // namespace kiln::test
