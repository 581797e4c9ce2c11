#include "api/cache_folder.hpp"
#include "api/stores.hpp"
#include "cli/commands.hpp"
#include "cli/planning.hpp"
#include "cli/report.hpp"
#include "cli/text_table.hpp"
#include "cuda/driver.hpp"
#include "jit/compiler.hpp"

#include <kiln/error.hpp>
#include <kiln/version.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <unistd.h>
#include <utility>

namespace kiln::cli {
namespace {

enum class State { good, note, missing, unwritable };

struct Finding {
  std::string subject;
  State state = State::good;
  std::string detail;
  std::string advice;  ///< what to do; empty if nothing
};

std::string_view word_for(State state) {
  switch (state) {
    case State::good:
      return "ok";
    case State::note:
      return "note";
    case State::missing:
      return "missing";
    case State::unwritable:
      return "not writable";
  }
  return "";
}

Tone tone_of(State state) {
  if (state == State::good) return Tone::good;
  return state == State::note ? Tone::warning : Tone::bad;
}

Finding tuned_rows(const plan::DeviceInfo& device, const Options& options) {
  const auto table = plan::tuned_table(options.tuned_dir, device.capability);
  const auto requests = shipped_requests();
  const auto tuned = std::ranges::count_if(
      requests, [&](const KernelRequest& request) { return table.find(request, device).has_value(); });
  Finding finding{"tuned table", State::good,
                  fmt::format("{} of {} kernels for {}", tuned, requests.size(), device.name), ""};
  if (tuned == 0) {
    finding.state = State::note;
    finding.advice = "kernels run with reasoned tiles; `kiln tune` measures better ones for this GPU";
  }
  return finding;
}

void examine_gpu(const Options& options, std::vector<Finding>& findings) {
  std::shared_ptr<const cuda::Driver> driver;
  int count = 0;
  try {
    driver = cuda::Driver::load(options.cuda_path);
    count = driver->device_count();
  } catch (const Error& error) {
    findings.push_back({"driver", State::missing, error.what(),
                        "KILN_CUDA_PATH names a driver that is elsewhere; without one kernels can be rendered, "
                        "compiled and precompiled, not run"});
    return;
  }
  constexpr int kThousand = 1000;
  constexpr int kTen = 10;
  const int version = driver->version();
  findings.push_back(
      {"driver", State::good,
       fmt::format("CUDA {}.{}, {}", version / kThousand, version % kThousand / kTen, driver->path().string()), ""});
  if (count == 0) {
    findings.push_back({"GPU", State::missing, "the driver sees none", "look at CUDA_VISIBLE_DEVICES and nvidia-smi"});
  }
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    const plan::DeviceInfo device = driver->device_info(ordinal);
    Finding finding{fmt::format("GPU {}", ordinal), State::good,
                    fmt::format("{}, sm_{}, {} SMs, {} KB shared memory a block", device.name, device.capability,
                                device.sm_count, device.smem_per_block / 1024),
                    ""};
    constexpr int kLeast = 80;
    if (device.capability < kLeast) {
      finding.state = State::note;
      finding.advice = "too old: Kiln needs compute capability 8.0 or newer";
    }
    findings.push_back(finding);
    if (device.capability >= kLeast) findings.push_back(tuned_rows(device, options));
  }
}

Finding examine_nvrtc(const Options& options) {
  std::string searched;
  const State absent = options.jit ? State::missing : State::note;
  const auto file = jit::find_compiler(options.nvrtc_path, &searched);
  if (!file) {
    return {"NVRTC", absent, "not found; looked at " + searched,
            "pip install nvidia-cuda-nvrtc (12.9 or newer) or install a CUDA toolkit, or set KILN_NVRTC_PATH; or use "
            "kernels made by `kiln precompile` with KILN_JIT=off"};
  }
  try {
    const auto compiler = jit::Compiler::load(*file);
    return {"NVRTC", State::good,
            fmt::format("{}, {}, identity {:.16}…, compiles for {}", compiler->version(), file->path.string(),
                        file->identity, fmt::join(compiler->supported_capabilities(), " ")),
            ""};
  } catch (const Error& error) {
    return {"NVRTC", absent, error.what(), "install NVRTC 12.9 or newer, or set KILN_NVRTC_PATH to one"};
  }
}

constexpr const char* kNotTrusted =
    "it is not used: make it yours and writable by you alone, or say that it is meant so with KILN_CACHE_SHARED=on";

/// Whether files could be made there, without making any.
bool can_write(std::filesystem::path folder) {
  std::error_code ignored;
  while (!std::filesystem::exists(folder, ignored) && folder.has_parent_path() && folder != folder.parent_path()) {
    folder = folder.parent_path();
  }
  return std::filesystem::is_directory(folder, ignored) && access(folder.c_str(), W_OK | X_OK) == 0;
}

Finding examine_cache(const Common& common) {
  const auto folder = api::cache_folder(common.options, logger_of(common));
  if (folder.empty()) {
    return {"cache", State::note, "memory only", "set KILN_CACHE_DIR, or each process compiles its kernels anew"};
  }
  const cache::DiskStore store(folder, cache::DiskStore::Access::read_write, logger_of(common),
                               api::store_settings(common.options));
  if (const std::string refusal = store.refusal(); !refusal.empty()) {
    return {"cache", State::unwritable, refusal, kNotTrusted};
  }
  if (can_write(std::filesystem::absolute(folder))) return {"cache", State::good, folder.string(), ""};
  return {"cache", State::unwritable, folder.string(), "make the folder writable or set KILN_CACHE_DIR to another one"};
}

Finding examine(const cache::DiskStore& folder) {
  Finding finding{"precompiled", State::good, folder.root().string(), ""};
  if (!std::filesystem::is_directory(folder.root())) {
    return {"precompiled", State::missing, finding.detail + " is not there",
            "make it with `kiln precompile`, or unset KILN_PRECOMPILED"};
  }
  const std::string refusal = folder.refusal();
  return refusal.empty() ? finding : Finding{"precompiled", State::missing, refusal, kNotTrusted};
}

Finding examine(const cache::PackStore& pack) {
  if (const cache::Pack* const opened = pack.pack()) {
    return {"precompiled", State::good, fmt::format("{}: {} kernels", pack.name(), opened->size()), ""};
  }
  return {"precompiled", State::missing, pack.refusal(),
          "make it again with `kiln precompile`, yours and writable by you alone, or unset KILN_PRECOMPILED"};
}

void examine_precompiled(const Common& common, std::vector<Finding>& findings) {
  const base::Logger silent(LogLevel::off, {});  // what it would warn of stands in the table
  for (const api::Precompiled& store : api::precompiled_stores(common.options, silent)) {
    findings.push_back(std::visit([](const auto& kernels) { return examine(kernels); }, store));
  }
}

void print_findings(const Common& common, const std::vector<Finding>& findings) {
  if (common.json) {
    base::Json::Array rows;
    for (const Finding& finding : findings) {
      rows.emplace_back(base::Json::Object{{"subject", finding.subject},
                                           {"state", word_for(finding.state)},
                                           {"detail", finding.detail},
                                           {"advice", finding.advice}});
    }
    print_json(base::Json::Object{{"version", version()}, {"findings", std::move(rows)}});
    return;
  }
  print(common.terminal.paint(Tone::strong, fmt::format("Kiln {}", version())) + "\n");
  TextTable table({{"what"}, {"state"}, {"detail"}});
  for (const Finding& finding : findings) {
    constexpr std::size_t kWidth = 100;
    std::string subject = finding.subject;
    std::string state(word_for(finding.state));
    for (std::string& line : wrap(finding.detail, kWidth)) {
      table.add({std::exchange(subject, ""), {std::exchange(state, ""), tone_of(finding.state)}, std::move(line)});
    }
    if (finding.advice.empty()) continue;
    for (std::string& line : wrap("→ " + finding.advice, kWidth)) table.add({"", "", std::move(line)});
  }
  print(table.str(common.terminal));
}

}  // namespace

ExitCode doctor(const Common& common) {
  std::vector<Finding> findings;
  examine_gpu(common.options, findings);
  findings.push_back(examine_nvrtc(common.options));
  findings.push_back(examine_cache(common));
  examine_precompiled(common, findings);
  print_findings(common, findings);

  const auto has = [&](State state) { return std::ranges::find(findings, state, &Finding::state) != findings.end(); };
  if (has(State::missing)) return ExitCode::missing;
  return has(State::unwritable) ? ExitCode::io : ExitCode::ok;
}

}  // namespace kiln::cli
