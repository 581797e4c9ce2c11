#include "tune/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace kiln::tune {
namespace {

double quantile(std::span<const double> sorted, double fraction) {
  const double at = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], at - static_cast<double>(below));
}

}  // namespace

Summary summarize(std::span<const double> samples) {
  if (samples.empty()) return {};
  std::vector<double> sorted(samples.begin(), samples.end());
  std::ranges::sort(sorted);
  Summary summary{quantile(sorted, 0.5), quantile(sorted, 0.25), quantile(sorted, 0.75), 0};
  summary.noise = (summary.high - summary.low) / std::sqrt(static_cast<double>(sorted.size()));
  return summary;
}

}  // namespace kiln::tune
