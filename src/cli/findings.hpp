#pragma once

#include "cli/commands.hpp"
#include "tune/check.hpp"
#include "tune/gpu.hpp"
#include "tune/statistics.hpp"

#include <kiln/runtime.hpp>

#include <optional>
#include <string>

namespace kiln::cli {

/// What a call does in a second.
struct Rate {
  double value = 0;
  const char* unit = "";
};

/// What `kiln run` has found out about a kernel and one call of it.
struct Findings {
  KernelInfo kernel;
  std::string shape;              ///< for a person
  base::Json::Object shape_json;  ///< for a machine
  std::optional<tune::CheckResult> check{};
  std::optional<tune::Summary> time{};  ///< microseconds
  Rate rate{};                          ///< if timed
};

/// Prints them as asked for.
void report(const Common& common, const tune::Gpu& gpu, const Findings& found);

}  // namespace kiln::cli
