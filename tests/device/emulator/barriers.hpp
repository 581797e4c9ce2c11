// A check of the checks: a kernel's tests turn red when any one of its barriers is missing.
#pragma once

#include "device/emulator/machine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace emulator {

/// The lines of a file that say __syncthreads, __syncthreads_or or __syncwarp, but for comments.
inline std::vector<unsigned> barrier_lines(const std::string& path) {
  std::vector<unsigned> lines;
  std::ifstream file(path);
  std::string text;
  for (unsigned line = 1; std::getline(file, text); ++line) {
    const auto at = text.find("__sync");
    if (at != std::string::npos && at < text.find("//")) lines.push_back(line);
  }
  return lines;
}

/// A launch, and the bits of its results.
using Launch = std::function<std::vector<std::uint16_t>()>;

/// Leaves out each barrier of a template in turn: one of the launches at least must throw or give other bits then.
inline void expect_every_barrier_is_needed(const std::string& name, const std::vector<Launch>& launches) {
#ifndef KILN_LOOKS_FOR_RACES
  GTEST_SKIP() << "this build looks at the kernels' memory with another sanitizer";
#endif
  std::vector<std::vector<std::uint16_t>> right;
  for (const Launch& launch : launches) ASSERT_NO_THROW(right.push_back(launch()));
  const auto shows = [&](std::size_t i) {
    try {
      return launches[i]() != right[i];
    } catch (const std::runtime_error&) {
      return true;
    }
  };
  const auto lines = barrier_lines(KILN_TEMPLATES "/" + name);
  ASSERT_FALSE(lines.empty()) << name;
  for (const unsigned line : lines) {
    const auto site = std::ranges::find_if(
        barriers_met(), [&](const BarrierSite& met) { return met.line == line && met.file.ends_with(name); });
    ASSERT_NE(site, barriers_met().end()) << name << ":" << line << " is never come to";
    const WithoutBarrier without(*site);
    bool shown = false;
    for (std::size_t i = 0; i < launches.size() && !shown; ++i) shown = shows(i);
    EXPECT_TRUE(shown) << "nothing shows when the barrier at " << name << ":" << line << " is missing";
  }
}

}  // namespace emulator
