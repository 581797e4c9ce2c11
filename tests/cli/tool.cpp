#include "tool.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

namespace kiln::test {
namespace {

std::string read_text(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) return {};  // a device may never end
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (std::string& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace

Tool::Variables Tool::environment() const {
  Variables all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    if (!text.starts_with("KILN_")) all[text.substr(0, equals)] = text.substr(equals + 1);
  }
  all["KILN_CUDA_PATH"] = FakeCuda::path();
  all["KILN_NVRTC_PATH"] = KILN_NVRTC_SHIM;
  all["KILN_CACHE_DIR"] = folder.path() / "cache";
  all["KILN_TUNED_DIR"] = folder.path();  // which rows are shipped shall not matter to a test
  all["KILN_LOG"] = "error";              // the shim's own variables would be warned of
  all["NVRTC_SHIM_FAKE"] = "1";
  all["NVRTC_SHIM_COUNT"] = folder.path() / "compiles";
  for (const auto& [name, value] : variables) all[name] = value;
  std::erase_if(all, [](const auto& variable) { return variable.second.empty(); });
  return all;
}

pid_t Tool::start(const std::vector<std::string>& arguments) const {
  // All memory is made before fork: the child only calls what a signal handler may.
  std::vector<std::string> words = {KILN_TOOL};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> settings;
  for (const auto& [name, value] : environment()) settings.push_back(fmt::format("{}={}", name, value));
  const auto argv = pointers(words);
  const auto envp = pointers(settings);
  const std::string out = folder.path() / "stdout";
  const std::string err = folder.path() / "stderr";
  const pid_t child = fork();
  if (child == 0) {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
    const int null = open("/dev/null", O_RDONLY);
    const int out_file = open(out.c_str(), kFlags, 0600);
    const int err_file = open(err.c_str(), kFlags, 0600);
    if (dup2(null, STDIN_FILENO) < 0 || dup2(out_file, STDOUT_FILENO) < 0 || dup2(err_file, STDERR_FILENO) < 0) {
      _exit(126);
    }
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  EXPECT_GT(child, 0);
  return child;
}

ToolResult Tool::wait(pid_t process) const {
  int status = 0;
  EXPECT_EQ(waitpid(process, &status, 0), process);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return {code, read_text(folder.path() / "stdout"), read_text(folder.path() / "stderr")};
}

int Tool::compiles() const {
  const std::string text = read_text(folder.path() / "compiles");
  return static_cast<int>(std::ranges::count(text, '\n'));
}

}  // namespace kiln::test
