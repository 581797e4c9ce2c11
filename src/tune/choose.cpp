#include "tune/choose.hpp"

#include <algorithm>
#include <cmath>

namespace kiln::tune {

double score(const Times& times) {
  double sum = 0;
  for (const Summary& time : times) sum += std::log(time.median);
  return std::exp(sum / static_cast<double>(times.size()));
}

double relative_noise(const Times& times) {
  double largest = 0;
  for (const Summary& time : times) largest = std::max(largest, time.noise / time.median);
  return largest;
}

std::optional<std::size_t> choose(std::span<const Times> candidates, std::size_t incumbent) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (!candidates[i].empty() && (!best || score(candidates[i]) < score(candidates[*best]))) best = i;
  }
  if (!best || candidates[incumbent].empty()) return best;
  constexpr double kLeastGain = 0.01;
  const double noise = relative_noise(candidates[*best]) + relative_noise(candidates[incumbent]);
  const bool beaten = score(candidates[*best]) < score(candidates[incumbent]) * (1 - std::max(kLeastGain, noise));
  return beaten ? best : incumbent;
}

}  // namespace kiln::tune
