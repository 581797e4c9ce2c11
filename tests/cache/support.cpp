#include "cache/support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <spawn.h>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

namespace kiln::cache {

namespace fs = std::filesystem;

Entry sample_entry(char digit, std::size_t image_bytes) {
  Entry entry;
  entry.kernel_id = std::string(64, digit);
  entry.build_id = std::string(64, digit);
  entry.target = "sm_90";
  entry.compiler = "4f1c";
  entry.name = "forward";
  entry.config = "int x = 1;\n";
  entry.entry = "kiln_forward";
  entry.registers = 168;
  entry.spill_bytes = 0;
  entry.smem_bytes = 65536;
  entry.compile_ms = 612.5;
  std::vector<std::byte> image(image_bytes);
  for (std::size_t i = 0; i < image_bytes; ++i) image[i] = static_cast<std::byte>(i * 7 + i / 251);
  entry.image = std::move(image);
  return entry;
}

fs::path path_in(const fs::path& root, const Entry& entry) {
  return root / "v1" / entry.kernel_id.substr(0, 2) / (entry.kernel_id + "-" + entry.build_id.substr(0, 16) + ".kiln");
}

std::vector<std::byte> read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> text{std::istreambuf_iterator<char>(file), {}};
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

void write_bytes(const fs::path& path, std::span<const std::byte> bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!fs::is_directory(entry.symlink_status())) names.push_back(entry.path().lexically_relative(folder).string());
  }
  std::ranges::sort(names);
  return names;
}

TempFolder::TempFolder() {
  std::string name = (fs::temp_directory_path() / "kiln-cache-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder: " + name);
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

Unprivileged::Unprivileged(const fs::path& folder) {
  constexpr uid_t kNobody = 65534;
  if (::geteuid() != 0) return;
  changed_ = ::chown(folder.c_str(), kNobody, kNobody) == 0 && ::seteuid(kNobody) == 0;
}

Unprivileged::~Unprivileged() {
  if (changed_ && ::seteuid(0) != 0) std::abort();
}

bool Unprivileged::works() { return ::geteuid() != 0; }

base::Logger LogLines::logger() const {
  return base::Logger(LogLevel::warning, [kept = kept_](LogLevel, std::string_view line) {
    const std::lock_guard lock(kept->mutex);
    kept->lines.emplace_back(line);
  });
}

std::vector<std::string> LogLines::lines() const {
  const std::lock_guard lock(kept_->mutex);
  return kept_->lines;
}

Worker::Worker(const std::vector<std::string>& arguments) {
  std::array<int, 2> to_worker{};
  std::array<int, 2> from_worker{};
  if (::pipe2(to_worker.data(), O_CLOEXEC) != 0 || ::pipe2(from_worker.data(), O_CLOEXEC) != 0) {
    throw std::runtime_error("no pipe");
  }
  const base::FileDescriptor worker_input(to_worker[0]);
  const base::FileDescriptor worker_output(from_worker[1]);
  input_ = base::FileDescriptor(to_worker[1]);
  output_ = base::FileDescriptor(from_worker[0]);
  std::vector<std::string> words = {"test_cache", "--worker"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, worker_input.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, worker_output.get(), STDOUT_FILENO);
  const int error = ::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("cannot start a worker");
}

Worker::~Worker() {
  if (pid_ < 0) return;
  kill();
  wait();
}

void Worker::close_input() { input_.close(); }

char Worker::read_output() {
  char character = 0;
  return ::read(output_.get(), &character, 1) == 1 ? character : '\0';
}

void Worker::kill() const { ::kill(pid_, SIGKILL); }

int Worker::wait() {
  int status = 0;
  if (::waitpid(std::exchange(pid_, -1), &status, 0) < 0) throw std::runtime_error("no worker to wait for");
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace kiln::cache

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && arguments[0] == "--worker") {
    return kiln::cache::run_worker({arguments.begin() + 1, arguments.end()});
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
