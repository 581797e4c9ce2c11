#include "cache/failing_close.hpp"
#include "cache/kill_suite.hpp"
#include "cache/lock.hpp"
#include "cache/support.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <map>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

namespace kiln::cache {
namespace {

using std::chrono::milliseconds;

DiskStore open_store(const std::string& root, PublishHook hook = nullptr) {
  return {root, DiskStore::Access::read_write, base::Logger(LogLevel::warning, nullptr), {.hook = hook}};
}

/// What a process that needs a kernel does: find it, else build it under the lock. Each build leaves a
/// mark in the file `builds`.
int find_or_build(const std::string& root, const std::string& builds) {
  const DiskStore store = open_store(root);
  Entry entry = sample_entry();
  char character = 0;
  while (::read(STDIN_FILENO, &character, 1) > 0) continue;  // all workers start when the input ends
  if (store.find_build(entry.kernel_id, entry.build_id)) return 0;
  const BuildLock lock = store.lock(entry.build_id, milliseconds(60'000));
  if (!lock.held()) return 2;
  if (const auto found = store.find_build(entry.kernel_id, entry.build_id)) return *found == entry ? 0 : 3;
  const base::FileDescriptor marks(::open(builds.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (::write(marks.get(), "x", 1) != 1) return 4;
  std::this_thread::sleep_for(milliseconds(200));
  return store.publish(entry) ? 0 : 5;
}

template <PublishStep kStep>
void die_at(PublishStep step) {
  if (step == kStep) ::raise(SIGKILL);
}

int publish_and_die(const std::string& root, const std::string& step) {
  constexpr PublishHook kHooks[] = {die_at<PublishStep::created>, die_at<PublishStep::written>,
                                    die_at<PublishStep::synced>, die_at<PublishStep::renamed>,
                                    die_at<PublishStep::folder_synced>};
  return open_store(root, kHooks[std::stoul(step)]).publish(sample_entry('a', 5000)) ? 0 : 1;
}

/// The kernel lets the file grow to `bytes`; the next write fails or, if `die`, kills the process.
int publish_with_room_for(const std::string& root, const std::string& bytes, bool die) {
  const rlim_t most = std::stoul(bytes);
  const rlimit limit{.rlim_cur = most, .rlim_max = most};
  if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
  ::signal(SIGXFSZ, die ? SIG_DFL : SIG_IGN);
  return open_store(root).publish(sample_entry('a', 5000)) ? 0 : 1;
}

/// Publishes a few keys over and over until it is killed.
int publish_for_ever(const std::string& root) {
  const DiskStore store = open_store(root);
  if (::write(STDOUT_FILENO, "p", 1) != 1) return 1;
  for (;;) {
    for (const char digit : std::string_view("0123")) {
      if (!store.publish(sample_entry(digit, 50'000))) return 1;
    }
  }
}

/// Closes what this process has open below v1 and ends so: the next call on it fails.
void close_files(std::string_view ending) {
  for (int file = STDERR_FILENO + 1; file < 64; ++file) {
    std::error_code none;
    const std::string path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(file), none);
    if (!none && path.find("/v1/") != std::string::npos && path.ends_with(ending)) ::close(file);
  }
}

template <PublishStep kStep>
void lose_temporary(PublishStep step) {
  if (step == kStep) close_files(kTemporarySuffix);
}
void fail_close_of_temporary(PublishStep step) {
  if (step == PublishStep::written) fail_next_close(EIO);
}
void remove_temporary(PublishStep step) {
  if (step != PublishStep::synced) return;
  const std::filesystem::path shard = std::filesystem::current_path() / "v1" / "aa";
  for (const auto& file : std::filesystem::directory_iterator(shard)) std::filesystem::remove(file.path());
}
void lose_folder(PublishStep step) {
  if (step == PublishStep::renamed) close_files("/aa");
}

/// Publishes with a call that fails, and says on standard output what it is told.
int publish_and_break(const std::string& root, const std::string& call) {
  const std::map<std::string, PublishHook> hooks = {{"Write", lose_temporary<PublishStep::created>},
                                                    {"Sync", lose_temporary<PublishStep::written>},
                                                    {"Close", fail_close_of_temporary},
                                                    {"Rename", remove_temporary},
                                                    {"SyncFolder", lose_folder}};
  std::filesystem::current_path(root);
  const base::Logger log(LogLevel::warning, [](LogLevel, std::string_view line) {
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::abort();
  });
  const DiskStore store(root, DiskStore::Access::read_write, log, {.hook = hooks.at(call)});
  return store.publish(sample_entry('a', 5000)) ? 0 : 1;
}

/// Says so once the temporary file is written, and waits there.
int publish_and_pause(const std::string& root) {
  const PublishHook pause = [](PublishStep step) {
    if (step != PublishStep::written) return;
    if (::write(STDOUT_FILENO, "p", 1) == 1) ::pause();
  };
  return open_store(root, pause).publish(sample_entry('a', 5000)) ? 0 : 1;
}

int hold_eviction(const std::string& root) {
  const std::string path = root + "/v1/lock";
  const base::FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (try_lock(file.get(), kEvictionByte) != 0 || ::write(STDOUT_FILENO, "h", 1) != 1) return 1;
  ::pause();
  return 0;
}

int hold_lock(const std::string& root, const std::string& build_id) {
  const BuildLock lock = open_store(root).lock(build_id, milliseconds(10'000));
  if (!lock.held() || ::write(STDOUT_FILENO, "h", 1) != 1) return 1;
  char character = 0;
  while (::read(STDIN_FILENO, &character, 1) > 0) continue;
  return 0;
}

}  // namespace

int run_worker(const std::vector<std::string>& arguments) {
  const std::string& task = arguments.at(0);
  const std::string& root = arguments.at(1);
  const std::string& detail = arguments.at(2);
  if (task == "find-or-build") return find_or_build(root, detail);
  if (task == "publish-and-die") return publish_and_die(root, detail);
  if (task == "publish-cut-short") return publish_with_room_for(root, detail, true);
  if (task == "publish-without-room") return publish_with_room_for(root, detail, false);
  if (task == "publish-and-break") return publish_and_break(root, detail);
  if (task == "publish-for-ever") return publish_for_ever(root);
  if (task == "kill-suite") return run_kill_suite(root, std::stoi(detail));
  if (task == "publish-and-pause") return publish_and_pause(root);
  if (task == "hold-eviction") return hold_eviction(root);
  if (task == "hold-lock") return hold_lock(root, detail);
  return 99;
}

}  // namespace kiln::cache
