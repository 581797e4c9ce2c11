#pragma once

#include <span>

namespace kiln::tune {

/// Of repeated measurements of one thing.
struct Summary {
  double median = 0;
  double low = 0;   ///< a quarter of the samples lies below
  double high = 0;  ///< a quarter lies above

  /// How far the median may be off: the spread of the middle half over √n.
  double noise = 0;
};

/// Zeros for no samples.
Summary summarize(std::span<const double> samples);

}  // namespace kiln::tune
