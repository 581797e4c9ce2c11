#pragma once

#include "cli/exit_codes.hpp"
#include "cli/selection.hpp"
#include "cli/shape.hpp"
#include "cli/terminal.hpp"

#include <kiln/options.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace kiln::cli {

/// What every command gets.
struct Common {
  Options options;    ///< KILN_* and what the command line sets
  bool json = false;  ///< for machines
  Terminal terminal;
  std::string command;  ///< as typed, for records
};

/// Says what this machine has and lacks, and what to do about it.
ExitCode doctor(const Common& common);

struct RenderArguments {
  KernelWords kernel;
  std::string arch = "90";
  std::string tile;                             ///< empty: as planned
  std::optional<std::filesystem::path> output;  ///< unset: standard output
};
/// Shows the CUDA source of a kernel.
ExitCode render(const Common& common, const RenderArguments& arguments);

struct CompileArguments {
  KernelWords kernel;
  bool all = false;  ///< every shipped kernel, whatever `kernel` says
  std::string arch = "90";
  std::string tile;
  bool strict = false;                          ///< spills and warnings are wrong
  std::optional<std::filesystem::path> output;  ///< a folder for source, cubin and log
  std::optional<std::filesystem::path> failed;  ///< instead of all this: a kept failure
};
/// Compiles kernels, needing no GPU, and shows what they use.
ExitCode compile(const Common& common, const CompileArguments& arguments);
/// Compiles once more what failed and was kept in a folder.
ExitCode compile_failed(const Common& common, const std::filesystem::path& folder);

struct RunArguments {
  KernelWords kernel;
  ShapeWords shape;
  std::string tile;
  std::uint64_t seed = 1;
  int samples = 20;  ///< timed calls; 0: only check
  int rows = 16384;  ///< output rows to check at most; 0: only time
};
/// Runs one kernel on random data, checks it and times it.
ExitCode run(const Common& common, const RunArguments& arguments);

struct PrecompileArguments {
  std::optional<std::filesystem::path> manifest;  ///< unset: `kernel` and `arch`
  KernelWords kernel;
  bool all = false;
  std::string arch = "all";
  std::filesystem::path output;
};
/// Makes a folder or a pack of kernels for machines that shall not compile.
ExitCode precompile(const Common& common, const PrecompileArguments& arguments);

struct PackArguments {
  enum class Action { merge, ls, verify };
  Action action = Action::ls;
  std::vector<std::filesystem::path> packs;  ///< merge: folders, too
  std::filesystem::path output;              ///< merge
};
/// Looks after kernels that are together in one file.
ExitCode pack(const Common& common, const PackArguments& arguments);

struct TuneArguments {
  KernelWords kernel;
  bool all = false;                 ///< every shipped kernel, whatever `kernel` says
  std::vector<std::string> shapes;  ///< "BATCHxLEN_QxLEN_K:HEADS_Q/HEADS_KV"; empty: what suits the kind
  int window_left = 1023;           ///< where the kernel has a window
  int page_size = 16;               ///< where the kernel has pages
  int rounds = 15;
  std::uint64_t seed = 1;
  std::filesystem::path output;  ///< a table, or the folder it is in; merged into
  bool dry_run = false;
};
/// Finds the fastest tiling for this GPU.
ExitCode tune(const Common& common, const TuneArguments& arguments);

struct BenchArguments {
  std::string kind = "forward,decode";
  std::string dtype = "bf16";
  std::string head_dim = "64,128";
  std::string lengths;  ///< empty: what suits the kind
  std::string batches = "1,8,32";
  std::string heads = "32/8";
  std::string mask = "full,causal";
  std::string with;         ///< as KernelWords has it
  std::string len_q = "1";  ///< decode: new tokens
  std::string decode_rows = "16";
  std::string out_dtype;  ///< merge: as KernelWords has it
  ShapeWords call;        ///< of all problems: window, pages, splits
  int samples = 30;
  std::string commit;  ///< empty: the one this tool was built from
};
/// Measures forward in TFLOP/s, decode and merge in GB/s.
ExitCode bench(const Common& common, const BenchArguments& arguments);

struct CacheArguments {
  enum class Action { ls, stat, verify, clear, prune, explain };
  Action action = Action::ls;
  std::optional<std::filesystem::path> folder;  ///< unset: the one a Runtime would use
  std::optional<std::string> max_bytes;         ///< prune; these unset: the options' limits
  std::optional<int> max_files;
  std::optional<std::string> older_than;
  bool dry_run = false;
  std::string a;  ///< explain: entry files, ids or beginnings of ids
  std::string b;
};
/// Looks after the folder that kernels are kept in.
ExitCode cache(const Common& common, const CacheArguments& arguments);

}  // namespace kiln::cli
