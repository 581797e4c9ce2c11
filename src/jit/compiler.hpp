#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace kiln::jit {

/// Which NVRTC file would be used, found without loading it.
struct CompilerFile {
  std::filesystem::path path;
  std::string identity;  ///< the ELF build id in hex, else a digest of the file; never a path
};

/// Looks, in this order, at: the explicit path, CUDA_HOME and CUDA_PATH, the loader's path, the
/// nvidia wheels in site-packages. Empty if there is none; `searched` then says where it looked.
std::optional<CompilerFile> find_compiler(const std::optional<std::filesystem::path>& explicit_path,
                                          std::string* searched = nullptr);

/// What the compiler says of a kernel.
struct Resources {
  int registers = 0;
  int spill_store_bytes = 0;
  int spill_load_bytes = 0;
  int stack_bytes = 0;
  int static_smem_bytes = 0;
  std::vector<std::string> warnings;

  [[nodiscard]] int spill_bytes() const { return spill_store_bytes + spill_load_bytes; }
};

/// Reads registers, spills and warnings of `entry` out of a `-Xptxas=-v` log.
Resources parse_log(std::string_view log, std::string_view entry);

struct Binary {
  std::vector<std::byte> image;  ///< a cubin; PTX if the target is compute_*
  Resources resources;
  std::string log;
  double compile_ms = 0;
};

/// The options of every compile, from an allow-list: they are part of a kernel's id.
std::vector<std::string> compile_options(std::string_view target);
/// "NAME=value" of each variable set that NVRTC lets change its output. Whoever keeps kernels adds
/// them to the kernel's id and warns.
std::vector<std::string> environment_options();

/// A loaded NVRTC. Compiling is thread-safe and runs in parallel.
class Compiler {
 public:
  /// Error(compile) if the file can't be loaded, is older than 12.9, or lacks a function.
  static std::shared_ptr<const Compiler> load(const CompilerFile& file);
  virtual ~Compiler() = default;

  /// Error(compile) carrying log and options if the source does not compile. Error(cancelled) soon after a stop is
  /// asked for: 2 ms, up to 200 in the assembler. An NVRTC that can't be stopped comes to its end first.
  [[nodiscard]] virtual Binary compile(const std::string& source, const std::string& name, const std::string& entry,
                                       const std::vector<std::string>& options,
                                       const std::stop_token& stop = {}) const = 0;
  /// The identity of the file it was loaded from.
  [[nodiscard]] virtual const std::string& identity() const = 0;
  [[nodiscard]] virtual std::string version() const = 0;  ///< "13.0"
  [[nodiscard]] virtual std::vector<int> supported_capabilities() const = 0;
};

/// The exact target for a capability given what a compiler supports: sm_XY; for one nobody knows, the
/// greatest supported of the same major that is not above it, else compute_ of the highest below it.
/// Error(unsupported) if all are above it.
std::string choose_target(int capability, std::span<const int> supported);

}  // namespace kiln::jit
