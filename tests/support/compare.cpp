#include "support/compare.hpp"

#include "support/half.hpp"

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

template <class Visit>
void for_each_row(const Problem& problem, const Visit& visit) {
  for (int b = 0; b < problem.batch; ++b)
    for (int i = 0; i < problem.len_q; ++i)
      for (int head = 0; head < problem.heads_q; ++head) visit(b, i, head);
}

AssertionResult failure(std::string_view what, std::string_view repro) {
  return AssertionFailure() << what << "\n  repro: " << repro;
}

}  // namespace

double allowed_error(const Problem& problem, const Judge& judge) {
  double naive = 0;
  double rounding = 0;
  for (std::size_t at = 0; at < judge.exact.out.size(); ++at) {
    const double exact = judge.exact.out[at];
    if (!std::isfinite(round_16(problem.config.dtype, static_cast<float>(exact)))) continue;
    const double error = std::abs(judge.naive.out[at] - exact);
    if (!std::isfinite(error)) return std::nan("");
    naive = std::max(naive, error);
    const double shifted = round_16(problem.config.dtype, static_cast<float>(exact + 0.3));
    rounding = std::max(rounding, std::abs(shifted - 0.3 - exact));
  }
  return 2 * naive + 1e-5 + 2 * rounding;
}

AssertionResult output_matches(const Problem& problem, const View& out, const Judge& judge, std::string_view repro) {
  const double allowed = allowed_error(problem, judge);
  if (std::isnan(allowed)) return failure("the naive 16-bit computation overflows on this data: no bound", repro);
  std::string wrong_kind;
  Worst worst;
  for_each_row(problem, [&](int b, int i, int head) {
    const std::uint16_t* row = out.at(b, i, head);
    const double* exact = judge.exact.out.data() + judge.exact.out_at(problem, b, i, head);
    for (int c = 0; c < problem.config.head_dim_v; ++c) {
      const double got = from_16(problem.config.dtype, row[c]);
      const double rounded = round_16(problem.config.dtype, static_cast<float>(exact[c]));
      const auto place = [&] {
        return fmt::format("out[{}][{}][{}][{}] = {}, reference {}", b, i, head, c, got, exact[c]);
      };
      if (!same_kind(got, rounded)) {
        if (wrong_kind.empty()) wrong_kind = place();
      } else if (std::isfinite(got) && std::abs(got - exact[c]) > worst.error) {
        worst.error = std::abs(got - exact[c]);
        if (worst.error > allowed) worst.place = place();
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

AssertionResult lse_matches(const Problem& problem, std::span<const float> lse, const Judge& judge,
                            std::string_view repro) {
  const std::vector<double>& exact = judge.exact.lse;
  if (lse.size() != exact.size()) return failure(fmt::format("{} LSEs, reference {}", lse.size(), exact.size()), repro);
  for (std::size_t at = 0; at < exact.size(); ++at) {
    const double got = lse[at];
    const bool near = !std::isfinite(exact[at]) || std::abs(got - exact[at]) <= 1e-3 + std::abs(exact[at]) * 0x1p-20;
    if (same_kind(got, exact[at]) && near) continue;
    const auto len_q = static_cast<std::size_t>(problem.len_q);
    const auto heads = static_cast<std::size_t>(problem.heads_q);
    return failure(fmt::format("lse[{}][{}][{}] = {}, reference {}", at / len_q / heads, at / len_q % heads, at % len_q,
                               got, exact[at]),
                   repro);
  }
  return AssertionSuccess();
}

}  // namespace kiln::test
