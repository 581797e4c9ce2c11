#pragma once

#include <kiln/export.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kiln {

enum class LogLevel { trace, debug, info, warning, error, off };

/// Called from any thread, one line at a time, without a line end.
using LogCallback = std::function<void(LogLevel, std::string_view message)>;

/// How a Runtime behaves. In code: set members. From the outside: a JSON file with the same names
/// (`from_file`) and the KILN_* variables (`apply_environment`), which the README lists. The
/// environment is read when asked here and never again.
struct KILN_API Options {
  /// Device ordinal. −1: the device of the caller's current context, else device 0.
  int device = -1;

  /// Where kernels are kept. Unset: $XDG_CACHE_HOME/kiln or ~/.cache/kiln. Empty path: memory only.
  std::optional<std::filesystem::path> cache_dir{};
  /// Folders and packs made by `kiln precompile`, one or several with ':' between them, read in this order before
  /// the cache and never written.
  std::optional<std::filesystem::path> precompiled{};
  /// Packs that are built into the program (docs/CACHE.md says how), read next. The bytes must stay as they are until
  /// the Runtimes made with these options, and their Preparations, are gone.
  std::vector<std::span<const std::byte>> packs{};
  /// What the cache may hold before the kernels used longest ago are removed. 0: no limit.
  std::uint64_t cache_max_bytes = std::uint64_t{2} << 30;
  int cache_max_files = 20'000;
  /// Use kernels' folders even if other users own or may write them. Whoever can write a kernel can run code
  /// in this process.
  bool cache_shared = false;
  /// false: never load NVRTC; a kernel that is in no cache is an error.
  bool jit = true;
  /// Kernels compiled at once by prepare(). 0: as many as cores and free memory allow.
  int compile_jobs = 0;
  /// Kernels may be placed on the GPU while the kernel before them in the stream ends, and wait there for it
  /// (programmatic dependent launch): less time between kernels. Compute capability 9.0 and driver 12.3 on. Decode that
  /// may read more than 512 MB is launched without: where its blocks are placed matters more.
  bool overlap_launches = true;
  /// libnvrtc and libcuda to load instead of searching for them.
  std::optional<std::filesystem::path> nvrtc_path{};
  std::optional<std::filesystem::path> cuda_path{};
  /// Tuned tables (sm_90.json, …) to use instead of those built in.
  std::optional<std::filesystem::path> tuned_dir{};
  /// Kernel templates to use instead of those built in, for work on kernels.
  std::optional<std::filesystem::path> template_dir{};
  /// Every rendered source is also written here.
  std::optional<std::filesystem::path> dump_dir{};
  /// Each kernel that is asked for is added to this file, once, for `kiln precompile` to make.
  std::optional<std::filesystem::path> record_file{};

  /// For finding mistakes: a call whose workspace a call on another stream may still be using is an error. It sees the
  /// calls of one Runtime and its handles outside of graphs, and costs each call with a workspace some calls of the
  /// driver's.
  bool check_workspaces = false;

  LogLevel log_level = LogLevel::warning;
  /// Where log lines go. Unset: standard error.
  LogCallback log{};

  /// Defaults changed by the environment: what a Runtime gets if it is given no options.
  static Options from_environment();
  /// Reads a JSON object whose keys are the members above. Unknown keys and bad values are errors.
  static Options from_file(const std::filesystem::path& path);
  static Options from_json(std::string_view text, std::string_view origin = "options");
  /// Sets one member by its name in JSON to a value written as its variable takes it: set("jit", "off").
  void set(std::string_view key, std::string_view text);
  /// Lets KILN_* override what is set here. A bad value is an error; an unknown KILN_* name is a
  /// warning with the nearest known name.
  void apply_environment();
};

}  // namespace kiln
