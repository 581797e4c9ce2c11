#include "api/builder.hpp"
#include "api/compile_jobs.hpp"
#include "base/fail.hpp"
#include "base/files.hpp"
#include "cli/commands.hpp"
#include "cli/interrupt.hpp"
#include "cli/manifest.hpp"
#include "cli/packing.hpp"
#include "cli/planning.hpp"
#include "cli/progress.hpp"
#include "cli/report.hpp"

#include <fmt/format.h>

#include <mutex>
#include <set>

namespace kiln::cli {
namespace {

struct Tally {
  int made = 0;
  int present = 0;  ///< were in the folder, or in the cache if they go into a pack
  std::uint64_t image_bytes = 0;
  std::optional<Error> first_error;
  std::vector<std::string> failed;

  [[nodiscard]] int ready() const { return made + present; }
};

/// Each kernel once, in the order asked for.
std::vector<plan::KernelConfig> wanted(const PrecompileArguments& arguments, const Options& options) {
  std::vector<ManifestItem> items;
  if (arguments.manifest) {
    items = parse_manifest(base::read_file(*arguments.manifest), arguments.manifest->string());
  } else {
    const auto requests = arguments.all ? shipped_requests() : parse_requests(arguments.kernel);
    items = on_architectures(requests, arguments.arch, arguments.all);
  }
  std::set<plan::KernelConfig> seen;
  std::vector<plan::KernelConfig> configs;
  for (const auto& [request, architecture] : items) {
    for (const auto& config : possible_configs(request, architecture, options)) {
      if (seen.insert(config).second) configs.push_back(config);
    }
  }
  return configs;
}

/// A folder is compiled into as any cache is: what is there stays, and each kernel is whole or absent at every moment.
/// What goes into a pack is kept in the cache meanwhile, so that a second try is quick.
Options options_for(const Common& common, const std::filesystem::path& output) {
  if (output.empty()) base::fail(ErrorCode::invalid_argument, "--output is empty: it must name a folder or a pack");
  Options options = common.options;
  if (names_pack(output)) {
    check_writable(output);
  } else {
    options.cache_dir = output;
  }
  options.precompiled.reset();
  options.jit = true;
  return options;
}

class Work {
 public:
  Work(const Options& options, const Common& common, bool into_pack)
      : builder_(options, logger_of(common)), into_pack_(into_pack) {
    if (into_pack) return;
    if (const std::string refusal = builder_.disk()->refusal(); !refusal.empty()) {
      base::fail(
          ErrorCode::io,
          "{}: who can change a kernel can run code where it is used, so none is put there. Take that right from "
          "others (chmod go-w), choose another folder, or set KILN_CACHE_SHARED=on if it is meant to be shared",
          refusal);
    }
  }

  void make(const plan::KernelConfig& config) {
    if (InterruptGuard::interrupted()) return;
    try {
      api::Built built = builder_.find_or_compile(config);
      const bool made = built.origin == Origin::compiled;
      // A cache may fail to keep what was built; here that is the whole point.
      if (made && !into_pack_ && !builder_.disk()->find_build(built.entry.kernel_id, built.entry.build_id)) {
        base::fail(ErrorCode::io, "{} was compiled but could not be kept in {}", built.entry.name,
                   builder_.disk()->root().string());
      }
      const std::scoped_lock lock(mutex_);
      ++(made ? tally_.made : tally_.present);
      tally_.image_bytes += built.entry.image.size();
      if (into_pack_) packed_.add(std::move(built.entry));
    } catch (const Error& error) {
      const std::scoped_lock lock(mutex_);
      tally_.failed.push_back(fmt::format("{}: {}", plan::name_of(config), error.what()));
      if (!tally_.first_error) tally_.first_error = error;
    }
  }

  [[nodiscard]] const Tally& tally() const { return tally_; }
  [[nodiscard]] const PackContent& packed() const { return packed_; }

 private:
  api::Builder builder_;
  bool into_pack_;
  std::mutex mutex_;
  Tally tally_;
  PackContent packed_;
};

void print_summary(const Common& common, const std::filesystem::path& output, const Tally& tally, int total,
                   bool written) {
  const bool pack = names_pack(output);
  if (common.json) {
    print_json(base::Json::Object{{pack ? "pack" : "folder", output.string()},
                                  {"written", written},
                                  {"kernels", total},
                                  {"made", tally.made},
                                  {"present", tally.present},
                                  {"image_bytes", tally.image_bytes},
                                  {"failed", base::Json::Array(tally.failed.begin(), tally.failed.end())}});
    return;
  }
  print(fmt::format("{} of {} kernels in {} ({}): {} made, {} {}\n", tally.ready(), total,
                    written ? output.string() : "the cache", bytes_text(tally.image_bytes), tally.made, tally.present,
                    pack ? "from the cache" : "there before"));
  if (!written) print(fmt::format("{} is not written\n", output.string()));
  if (tally.failed.empty() && written) {
    print(fmt::format("Use them with KILN_PRECOMPILED={} and, to forbid compiling, KILN_JIT=off\n", output.string()));
  }
}

}  // namespace

ExitCode precompile(const Common& common, const PrecompileArguments& arguments) {
  const Options options = options_for(common, arguments.output);
  const auto configs = wanted(arguments, options);
  const auto total = static_cast<int>(configs.size());
  const InterruptGuard guard;
  const bool into_pack = names_pack(arguments.output);
  Work work(options, common, into_pack);
  {
    Progress progress("compiling", total, common.terminal);
    std::vector<api::Job> jobs;
    for (const auto& config : configs) jobs.emplace_back([&] { work.make(config); });
    api::run_jobs(jobs, api::job_limit(options.compile_jobs), [&](const kiln::Progress& at) {
      if (!InterruptGuard::interrupted()) progress.update(at.done);
    });
  }
  const Tally& tally = work.tally();
  const bool written = !into_pack || tally.ready() == total;  // a pack is written whole or not at all
  if (into_pack && written) static_cast<void>(work.packed().write(arguments.output));
  print_summary(common, arguments.output, tally, total, written);
  if (const auto& error = tally.first_error) throw Error(*error);
  return InterruptGuard::interrupted() ? ExitCode::interrupted : ExitCode::ok;
}

}  // namespace kiln::cli
