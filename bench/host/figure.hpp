#pragma once

#include "base/json.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kiln::bench {

/// One measured number and what it should be at most (or, for shares, at least).
struct Figure {
  std::string what;
  double value = 0;
  std::string unit;
  std::optional<double> at_most{};
  std::optional<double> at_least{};
  base::Json::Object detail{};  ///< whatever else a reader needs
};

/// How the figures are to be taken.
struct Setup {
  std::filesystem::path self;     ///< this program, which is also the child of the cold-process figures
  std::filesystem::path scratch;  ///< an empty folder
  std::optional<std::filesystem::path> cuda_path{};  ///< libcuda: unset: the real one; else the fake
  bool gpu = false;
  int capability = 90;
  int cores = 1;
};

using Figures = std::vector<Figure>;

Figures compile_figures(const Setup& setup);  ///< cold compile, parallel compile
Figures cache_figures(const Setup& setup);    ///< disk and memory hits
Figures launch_figures(const Setup& setup);   ///< what Kiln adds to a raw launch
Figures process_figures(const Setup& setup);  ///< what needs a new process: NVRTC's start, cold races, first result

/// What process_figures() starts this program for. Prints one JSON object.
int run_child(const std::vector<std::string>& arguments);

}  // namespace kiln::bench
