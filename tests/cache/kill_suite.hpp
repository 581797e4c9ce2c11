#pragma once

#include "cache/support.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace kiln::cache {

/// What killing processes that publish did.
struct KillTally {
  int kills = 0;
  int whole = 0;  ///< lookups that found the whole entry afterwards
  int nothing = 0;
  int wrong = 0;  ///< anything else: another entry, one too early or too late, a process that survived
  std::vector<std::string> warnings;
};

/// Kills a publisher at a step, `times` over; the store must hold all of the entry or nothing, as the step says,
/// and take the entry afterwards.
KillTally kill_at_step(const std::filesystem::path& root, PublishStep step, int times);
/// The same with a publisher killed in the middle of a write.
KillTally kill_in_write(const std::filesystem::path& root, int times);
/// Kills publishers of several keys, `times` over, at random instants.
KillTally kill_at_random(const std::filesystem::path& root, int times);

/// All of them, with a line of JSON for each: bench/run_faults.py keeps these.
int run_kill_suite(const std::filesystem::path& root, int times);

}  // namespace kiln::cache
