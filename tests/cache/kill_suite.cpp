#include "cache/kill_suite.hpp"

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <random>
#include <thread>

namespace kiln::cache {
namespace {

const Entry& published() {
  static const Entry entry = sample_entry('a', 5000);
  return entry;
}

DiskStore open_store(const std::filesystem::path& root, const LogLines& log) {
  return {root, DiskStore::Access::read_write, log.logger()};
}

/// One look at a key, which must be `expected` or, if `may_miss`, not there.
void look(const DiskStore& store, const Entry& expected, bool must_hit, bool may_hit, KillTally& tally) {
  const auto found = store.find_build(expected.kernel_id, expected.build_id);
  ++(found ? tally.whole : tally.nothing);
  const bool right = found ? may_hit && *found == expected : !must_hit;
  if (!right) ++tally.wrong;
}

KillTally kill_workers(const std::filesystem::path& root, const std::vector<std::string>& arguments, int signal,
                       bool kept, int times) {
  KillTally tally;
  const LogLines log;
  const DiskStore store = open_store(root, log);
  for (int i = 0; i < times; ++i) {
    store.clear();
    Worker worker(arguments);
    if (worker.wait() != -signal) ++tally.wrong;
    ++tally.kills;
    look(store, published(), kept, kept, tally);
    if (!store.publish(published()) || store.find_kernel(published().kernel_id) != published()) ++tally.wrong;
  }
  tally.warnings = log.lines();
  return tally;
}

void print_row(const std::string& what, const KillTally& tally) {
  fmt::print("{{\"what\": \"{}\", \"kills\": {}, \"whole\": {}, \"nothing\": {}, \"wrong\": {}, \"warnings\": {}}}\n",
             what, tally.kills, tally.whole, tally.nothing, tally.wrong, tally.warnings.size());
  std::fflush(stdout);
}

}  // namespace

KillTally kill_at_step(const std::filesystem::path& root, PublishStep step, int times) {
  return kill_workers(root, {"publish-and-die", root, std::to_string(static_cast<int>(step))}, SIGKILL,
                      step >= PublishStep::renamed, times);
}

KillTally kill_in_write(const std::filesystem::path& root, int times) {
  return kill_workers(root, {"publish-cut-short", root, "3000"}, SIGXFSZ, false, times);
}

KillTally kill_at_random(const std::filesystem::path& root, int times) {
  constexpr int kLongestMicroseconds = 20'000;
  KillTally tally;
  const LogLines log;
  const DiskStore store = open_store(root, log);
  std::mt19937 random(20240611);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same instants each time
  std::uniform_int_distribution<int> wait(0, kLongestMicroseconds);
  for (int i = 0; i < times; ++i) {
    Worker worker({"publish-for-ever", root, ""});
    if (worker.read_output() != 'p') ++tally.wrong;
    std::this_thread::sleep_for(std::chrono::microseconds(wait(random)));
    worker.kill();
    if (worker.wait() != -SIGKILL) ++tally.wrong;
    ++tally.kills;
    for (const char digit : std::string_view("0123")) look(store, sample_entry(digit, 50'000), false, true, tally);
  }
  tally.warnings = log.lines();
  return tally;
}

int run_kill_suite(const std::filesystem::path& root, int times) {
  constexpr const char* kSteps[] = {"after it made the temporary file", "after it wrote it", "after it synced it",
                                    "after it renamed it", "after it synced the folder"};
  int wrong = 0;
  const auto report = [&](const std::string& what, const KillTally& tally) {
    print_row(what, tally);
    wrong += tally.wrong;
  };
  for (int step = 0; step <= static_cast<int>(PublishStep::folder_synced); ++step) {
    report(fmt::format("publisher killed {}", kSteps[step]),
           kill_at_step(root / "step", static_cast<PublishStep>(step), times));
  }
  report("publisher killed in the middle of a write", kill_in_write(root / "write", times));
  report("publisher of four keys killed at a random instant", kill_at_random(root / "random", 2 * times));
  return wrong == 0 ? 0 : 1;
}

}  // namespace kiln::cache
