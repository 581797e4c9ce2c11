#include "tune/autotuner.hpp"

#include "api/compile_jobs.hpp"
#include "plan/plan.hpp"
#include "tune/load_kernel.hpp"

#include <kiln/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace kiln::tune {
namespace {

/// A candidate on its way from tiling to times.
struct Runner {
  plan::KernelConfig config;
  cache::Entry entry;
  KernelPtr kernel;
};

/// A candidate that is being timed.
struct Lane {
  std::size_t candidate = 0;
  std::unique_ptr<Call> call;
  std::unique_ptr<Stopwatch> watch;
  std::vector<double> samples;
};

void drop(Candidate& candidate, Candidate::Fate fate, std::string why) {
  candidate.fate = fate;
  candidate.why = std::move(why);
}

bool alive(const Candidate& candidate) { return candidate.fate == Candidate::Fate::timed; }

/// One race: all candidates for one request.
class Race {
 public:
  Race(const Gpu& gpu, const api::Builder& builder, const KernelRequest& request, const plan::TunedTable& table,
       TuneProgress progress)
      : gpu_(gpu), builder_(builder), request_(request), progress_(std::move(progress)) {
    const plan::Tiling incumbent = plan::plan(request, gpu.info(), table).tiling;
    auto tilings = plan::candidate_tilings(request, gpu.info());
    if (std::ranges::find(tilings, incumbent) == tilings.end()) tilings.push_back(incumbent);
    for (const plan::Tiling& tiling : tilings) {
      if (tiling == incumbent) result_.incumbent = result_.candidates.size();
      result_.candidates.emplace_back().tiling = tiling;
      runners_.push_back({.config = plan::with_tiling(request, gpu.info(), tiling), .entry = {}, .kernel = {}});
    }
  }

  void compile(int jobs) {
    std::vector<api::Job> work;
    for (std::size_t i = 0; i < runners_.size(); ++i) work.emplace_back([this, i] { compile_one(i); });
    api::run_jobs(work, api::job_limit(jobs),
                  [this](const Progress& at) { progress_("compiling", at.done, at.total); });
  }

  void check(std::uint64_t seed, const Problem& problem) {
    const HostInputs inputs = random_inputs(problem, seed);
    DeviceTensors tensors(gpu_, problem, inputs);
    const Expectation expected = expect(problem, inputs, rows_to_check(problem, problem.rows()));
    for_each_alive("checking", [&](std::size_t i) {
      Runner& runner = runners_[i];
      runner.kernel = load_kernel(gpu_, request_, runner.config, runner.entry);
      tensors.poison_outputs();
      const Call call(gpu_, runner.kernel, tensors);
      call.launch(gpu_.stream(), 0);
      gpu_.synchronize();
      const CheckResult checked = tune::check(expected, tensors.download());
      if (!checked.passed) drop(result_.candidates[i], Candidate::Fate::wrong, checked.first_wrong);
    });
  }

  void time(Timer& timer, const Problem& problem, const TuneSettings& settings) {
    const int copies = request_.kind == KernelKind::decode ? copies_against_l2(problem, kDecodeCallsPerGraph) : 1;
    const DeviceTensors tensors(gpu_, problem, copies, settings.seed);
    std::vector<Lane> lanes;
    for_each_alive("warming up", [&](std::size_t i) {
      Lane lane{.candidate = i,
                .call = std::make_unique<Call>(gpu_, runners_[i].kernel, tensors),
                .watch = {},
                .samples = {}};
      lane.watch = std::make_unique<Stopwatch>(gpu_, timer, *lane.call, L2::cold);
      (void)lane.watch->sample();
      lanes.push_back(std::move(lane));
    });
    for (int round = 0; round < settings.rounds; ++round) {
      progress_("timing " + shape_text(problem), round, settings.rounds);
      for (Lane& lane : lanes) lane.samples.push_back(lane.watch->sample());
    }
    for (const Lane& lane : lanes) result_.candidates[lane.candidate].times.push_back(summarize(lane.samples));
  }

  TuneResult finish() {
    std::vector<Times> times;
    for (Candidate& candidate : result_.candidates) {
      if (!alive(candidate)) candidate.times.clear();
      times.push_back(candidate.times);
    }
    result_.winner = choose(times, result_.incumbent);
    return std::move(result_);
  }

 private:
  void compile_one(std::size_t i) {
    Candidate& candidate = result_.candidates[i];
    try {
      runners_[i].entry = builder_.compile(runners_[i].config);
    } catch (const Error& error) {
      if (!builder_.compiler_file()) throw;  // no candidate's fault
      drop(candidate, Candidate::Fate::does_not_compile, error.what());
      return;
    }
    candidate.registers = runners_[i].entry.registers;
    candidate.spill_bytes = runners_[i].entry.spill_bytes;
    candidate.compile_ms = runners_[i].entry.compile_ms;
    if (candidate.spill_bytes > 0) {
      drop(candidate, Candidate::Fate::spills, fmt::format("{} bytes", candidate.spill_bytes));
    }
  }

  /// A launch that the driver refuses takes the candidate out, not the whole race.
  template <class Step>
  void for_each_alive(std::string_view step, const Step& run) {
    const auto total = static_cast<int>(runners_.size());
    for (std::size_t i = 0; i < runners_.size(); ++i) {
      if (!alive(result_.candidates[i])) continue;
      try {
        run(i);
      } catch (const Error& error) {
        drop(result_.candidates[i], Candidate::Fate::fails, error.what());
      }
      progress_(step, static_cast<int>(i) + 1, total);
    }
  }

  const Gpu& gpu_;
  const api::Builder& builder_;
  KernelRequest request_;
  TuneProgress progress_;
  TuneResult result_;
  std::vector<Runner> runners_;
};

}  // namespace

std::string_view to_string(Candidate::Fate fate) {
  switch (fate) {
    case Candidate::Fate::timed:
      return "timed";
    case Candidate::Fate::does_not_compile:
      return "does not compile";
    case Candidate::Fate::spills:
      return "spills";
    case Candidate::Fate::wrong:
      return "wrong";
    case Candidate::Fate::fails:
      return "fails";
  }
  return "";
}

Problem small_problem(const Problem& problem) {
  Problem small = problem;
  const int group = problem.heads_q / problem.heads_kv;
  small.batch = std::min(problem.batch, 2);
  small.heads_kv = std::min(problem.heads_kv, 2);
  small.heads_q = small.heads_kv * group;
  small.len_q = std::min(problem.len_q, 239);
  small.len_k = std::min(problem.len_k, 799);
  small.lengths.clear();
  if (small.window_left >= 0) small.window_left = std::min(problem.window_left, 113);
  if (small.window_right >= 0) small.window_right = std::min(problem.window_right, 113);
  return small;
}

TuneResult tune(const Gpu& gpu, const api::Builder& builder, Timer& timer, const plan::TunedTable& table,
                std::span<const Problem> problems, const TuneSettings& settings, const TuneProgress& progress) {
  Race race(gpu, builder, problems.front().request, table, progress);
  race.compile(settings.compile_jobs);
  race.check(settings.seed, small_problem(problems.front()));
  for (const Problem& problem : problems) race.time(timer, problem, settings);
  return race.finish();
}

}  // namespace kiln::tune
