#include "api/failure_folder.hpp"

#include "base/fail.hpp"
#include "base/files.hpp"

#include <algorithm>
#include <exception>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace kiln::api {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKept = 16;
constexpr const char* kSource = "source.cu";
constexpr const char* kOptions = "options.txt";

/// One word for a shell, whatever is in it.
std::string shell_word(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string repro(const fs::path& folder, const FailedCompile& failed) {
  std::string line;
  for (const std::string& variable : failed.environment) {
    const std::size_t end = variable.find('=');
    line += variable.substr(0, end) + "=" + shell_word(std::string_view(variable).substr(end + 1)) + " ";
  }
  if (!failed.compiler.empty()) line += "KILN_NVRTC_PATH=" + shell_word(failed.compiler.native()) + " ";
  return line + "kiln compile --failed " + shell_word(folder.native()) + "\n";
}

void write(const fs::path& folder, const FailedCompile& failed) {
  fs::create_directory(folder);
  base::write_file_atomic(folder / kSource, failed.source);
  base::write_file_atomic(folder / kOptions, fmt::format("{}\n", fmt::join(failed.options, "\n")));
  base::write_file_atomic(folder / "log.txt", failed.log);
  base::write_file_atomic(folder / "repro.sh", repro(folder, failed));
}

/// Removes all but the latest; the one just written is one of them whatever its time says.
void drop_old(const fs::path& failures, const fs::path& latest) {
  std::vector<std::pair<fs::file_time_type, fs::path>> folders;
  std::error_code error;
  for (fs::directory_iterator it(failures, error); !error && it != fs::directory_iterator(); it.increment(error)) {
    if (it->path() == latest || it->symlink_status(error).type() != fs::file_type::directory) continue;
    folders.emplace_back(it->last_write_time(error), it->path());
  }
  std::ranges::sort(folders, std::ranges::greater{});
  for (std::size_t i = kKept - 1; i < folders.size(); ++i) fs::remove_all(folders[i].second, error);
}

std::string whole_log(std::string_view why, const FailedCompile& failed) {
  constexpr std::size_t kMostBytes = std::size_t{64} << 10;
  return fmt::format("\n{}; the log:\n{}", why, std::string_view(failed.log).substr(0, kMostBytes));
}

}  // namespace

std::string keep_failure(const cache::DiskStore* store, const FailedCompile& failed) {
  if (store == nullptr) return whole_log("there is no cache folder to keep its source and log in", failed);
  const fs::path failures = store->make_side_folder("failures");
  if (failures.empty()) return whole_log("the cache folder can't keep its source and log", failed);
  constexpr std::size_t kIdDigits = 16;
  const fs::path folder = failures / fmt::format("{}-{}", failed.name, failed.kernel_id.substr(0, kIdDigits));
  try {
    write(folder, failed);
    drop_old(failures, folder);
  } catch (const std::exception& error) {
    return whole_log(fmt::format("its source and log could not be kept: {}", error.what()), failed);
  }
  return fmt::format("\nsource, options, log and a command to repeat it: {}", folder.string());
}

KeptFailure read_failure(const fs::path& folder) {
  KeptFailure kept{.source = base::read_file(folder / kSource), .options = {}};
  std::istringstream options(base::read_file(folder / kOptions));
  for (std::string line; std::getline(options, line);) kept.options.push_back(line);
  return kept;
}

}  // namespace kiln::api
