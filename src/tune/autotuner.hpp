#pragma once

#include "api/builder.hpp"
#include "plan/tuned_table.hpp"
#include "tune/call.hpp"
#include "tune/choose.hpp"

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kiln::tune {

/// One way to cut the work, and what became of it.
struct Candidate {
  enum class Fate { timed, does_not_compile, spills, wrong, fails };

  plan::Tiling tiling;
  Fate fate = Fate::timed;
  std::string why;  ///< unless timed
  int registers = 0;
  int spill_bytes = 0;
  double compile_ms = 0;
  Times times;  ///< one for each problem
};

std::string_view to_string(Candidate::Fate fate);

struct TuneResult {
  std::vector<Candidate> candidates;
  std::size_t incumbent = 0;          ///< what the plan uses today
  std::optional<std::size_t> winner;  ///< the incumbent unless beaten by more than the noise
};

struct TuneSettings {
  int rounds = 15;       ///< samples of each candidate on each problem
  int compile_jobs = 0;  ///< 0: as many as cores and memory allow
  std::uint64_t seed = 1;
};

/// Called between steps: what is being done, how far it is.
using TuneProgress = std::function<void(std::string_view step, int done, int total)>;

/// Compiles every candidate tiling in parallel, drops those that spill or don't match the reference,
/// and times the others on all problems (of one request) with a cold L2, taking turns. Nothing is
/// written anywhere.
TuneResult tune(const Gpu& gpu, const api::Builder& builder, Timer& timer, const plan::TunedTable& table,
                std::span<const Problem> problems, const TuneSettings& settings, const TuneProgress& progress);

/// A problem of the same kind that float64 checks in a moment: odd lengths, few heads.
Problem small_problem(const Problem& problem);

}  // namespace kiln::tune
