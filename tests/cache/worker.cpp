#include "cache/lock.hpp"
#include "cache/support.hpp"

#include <chrono>
#include <csignal>
#include <fcntl.h>
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
  if (task == "publish-and-pause") return publish_and_pause(root);
  if (task == "hold-eviction") return hold_eviction(root);
  if (task == "hold-lock") return hold_lock(root, detail);
  return 99;
}

}  // namespace kiln::cache
