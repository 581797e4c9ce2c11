#pragma once

#include "tune/statistics.hpp"

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace kiln::tune {

/// The times of one candidate on each problem, in microseconds. Empty: it is out of the race.
using Times = std::vector<Summary>;

/// Geometric mean of the medians: a gain of some percent counts alike on a short and a long problem.
double score(const Times& times);
/// The largest noise on any problem, relative to its median.
double relative_noise(const Times& times);

/// Which candidate to use: the fastest if it beats the incumbent by more than the noise of both and at
/// least 1 %, else the incumbent. The fastest if the incumbent is out; empty if all are.
std::optional<std::size_t> choose(std::span<const Times> candidates, std::size_t incumbent);

}  // namespace kiln::tune
