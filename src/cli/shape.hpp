#pragma once

#include "base/json.hpp"
#include "tune/merge_problem.hpp"
#include "tune/problem.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace kiln::cli {

/// Shapes of one call as words on the command line.
struct ShapeWords {
  int batch = 2;
  std::string len_q{};       ///< empty: 1024, and 1 for decode and merge
  std::string len_k{};       ///< empty: as len_q, and 4096 for decode
  std::string heads = "16";  ///< "16", or "32/8" for query and KV heads
  int window_left = -1;
  int window_right = -1;
  int page_size = 0;      ///< 0: not given, and 16 where there are pages
  std::string lengths{};  ///< "zipf": sequences of 1 to len_k keys, few of them long; empty or "even": as drawn
  int splits = 0;         ///< decode: blocks over which a sequence's keys are split; 0: as the kernel balances
  int split_size = 0;     ///< decode: keys of a split
  int states = 2;         ///< merge: how many are merged
};

tune::Problem parse_problem(const KernelRequest& request, const ShapeWords& words);
/// As many query heads as --heads says, and one token of each sequence unless --len-q says more.
tune::MergeProblem parse_merge_problem(const MergeConfig& config, const ShapeWords& words);

/// "2x1024x4096:32/8": batch, queries, keys, heads.
tune::Problem parse_shape(const KernelRequest& request, std::string_view word);

/// The problems that a kernel is tuned for unless others are given: short and long, filling the GPU or not.
std::vector<tune::Problem> usual_problems(const KernelRequest& request);

/// Adds the shape to what is said of a kernel.
void add_shape(const tune::Problem& problem, base::Json::Object& json);
void add_shape(const tune::MergeProblem& problem, base::Json::Object& json);

}  // namespace kiln::cli
