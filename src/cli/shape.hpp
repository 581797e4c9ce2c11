#pragma once

#include "tune/problem.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace kiln::cli {

/// Shapes of one call as words on the command line.
struct ShapeWords {
  int batch = 2;
  std::string len_q{};       ///< empty: 1024, and 1 for decode
  std::string len_k{};       ///< empty: as len_q, and 4096 for decode
  std::string heads = "16";  ///< "16", or "32/8" for query and KV heads
  int window_left = -1;
  int window_right = -1;
};

tune::Problem parse_problem(const KernelRequest& request, const ShapeWords& words);

/// "2x1024x4096:32/8": batch, queries, keys, heads.
tune::Problem parse_shape(const KernelRequest& request, std::string_view word);

/// The problems that a kernel is tuned for unless others are given: short and long, filling the GPU.
std::vector<tune::Problem> usual_problems(const KernelRequest& request);

}  // namespace kiln::cli
