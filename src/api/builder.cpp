#include "api/builder.hpp"

#include "api/failure_folder.hpp"
#include "base/fail.hpp"
#include "base/files.hpp"
#include "plan/device_info.hpp"
#include "plan/names.hpp"

#include <algorithm>
#include <array>
#include <chrono>

namespace kiln::api {
namespace {

// Longer than any compile of ours takes; after it a second compile does less harm than waiting on.
constexpr std::chrono::seconds kLockPatience{60};

void dump(const std::filesystem::path& folder, const codegen::Source& source, const base::Logger& log) {
  try {
    std::filesystem::create_directories(folder);
    base::write_file_atomic(folder / source.name, source.text());
  } catch (const std::exception& error) {
    log.warning("the source of {} was not dumped: {}", source.name, error.what());
  }
}

/// What NVRTC says of a target that it does not know names neither itself nor what to do.
void check_target(const jit::Compiler& nvrtc, int capability, const std::string& target) {
  const auto supported = nvrtc.supported_capabilities();
  const bool chosen_from_them = target != fmt::format("sm_{}", capability);
  if (chosen_from_them || std::ranges::find(supported, capability) != supported.end()) return;
  base::fail(ErrorCode::compile,
             "NVRTC {} cannot compile for {}, only for compute capabilities {}. Install a newer nvidia-cuda-nvrtc, or "
             "set KILN_NVRTC_PATH to one",
             nvrtc.version(), target, fmt::join(supported, ", "));
}

}  // namespace

Builder::Builder(const Options& options, base::Logger log)
    : options_(options),
      log_(std::move(log)),
      renderer_(codegen::TemplateStore(options.template_dir)),
      environment_options_(jit::environment_options()),
      search_places_(jit::search_places(options.nvrtc_path)),
      precompiled_(precompiled_stores(options, log_)),
      disk_(disk_store(options, log_)) {
  for (const auto& option : environment_options_) {
    log_.warning("{} changes what NVRTC compiles; kernels built under it are kept apart", option);
  }
}

Blueprint Builder::blueprint(const plan::KernelConfig& config) const {
  Blueprint out;
  out.source = renderer_.render(config);
  out.target = target_for(config.capability);
  out.options = jit::compile_options(out.target);
  auto key_options = out.options;
  key_options.insert(key_options.end(), environment_options_.begin(), environment_options_.end());
  // The text itself need not be put together to be told from any other.
  const std::array<base::HashPart, 3> text = {
      {{"template", out.source.rest->digest}, {"heading", out.source.heading}, {"config", out.source.config}}};
  out.kernel_id = cache::kernel_id(text, key_options, out.target);
  if (options_.dump_dir) dump(*options_.dump_dir, out.source, log_);
  return out;
}

Built Builder::find_or_compile(const plan::KernelConfig& config, const std::function<void()>& before_compile,
                               const std::stop_token& stop) const {
  const auto plan = blueprint(config);
  if (auto found = find(plan)) return std::move(*found);
  if (!options_.jit) fail_missing(config, plan);
  if (before_compile) before_compile();
  if (stop.stop_requested()) base::fail(ErrorCode::cancelled, "the compile of {} was cancelled", plan.source.name);
  if (!disk_) return compile_anew(config, plan, stop);

  const auto lock = disk_->lock(cache::build_id(plan.kernel_id, compiler()->identity()), kLockPatience, stop);
  // Whoever held the lock before us most likely built this very kernel.
  if (auto found = find(plan)) return std::move(*found);
  Built built = compile_anew(config, plan, stop);
  disk_->publish(built.entry);
  return built;
}

std::optional<Built> Builder::find(const Blueprint& plan) const {
  for (const auto& store : precompiled_) {
    auto entry = std::visit([&](const auto& kernels) { return kernels.find_kernel(plan.kernel_id); }, store);
    if (entry && fits(*entry, plan)) return Built{.entry = std::move(*entry), .origin = Origin::precompiled};
  }
  if (!disk_) return {};
  // Without a compiler to compare with, any compiler's kernel serves.
  const auto file = options_.jit ? compiler_file() : std::nullopt;
  auto entry = file ? disk_->find_build(plan.kernel_id, cache::build_id(plan.kernel_id, file->identity))
                    : disk_->find_kernel(plan.kernel_id);
  if (!entry || !fits(*entry, plan)) return {};
  return Built{.entry = std::move(*entry), .origin = Origin::disk};
}

bool Builder::fits(const cache::Entry& entry, const Blueprint& plan) const {
  // A kernel's id holds its target, but the driver takes any cubin: what is loaded must say it too.
  if (entry.target == plan.target) return true;
  log_.warning("a kept kernel {} is for {}, not {}: it is not used", entry.name, entry.target, plan.target);
  return false;
}

Built Builder::compile_anew(const plan::KernelConfig& config, const Blueprint& plan,
                            const std::stop_token& stop) const {
  try {
    return {.entry = compile(config, plan, nullptr, stop), .origin = Origin::compiled};
  } catch (const jit::CompileFailure& failure) {
    const FailedCompile failed{.name = plan::name_of(config),
                               .kernel_id = plan.kernel_id,
                               .source = plan.source.text(),
                               .options = plan.options,
                               .environment = environment_options_,
                               .compiler = compiler_file().value_or(jit::CompilerFile{}).path,
                               .log = failure.log()};
    throw Error(failure.code(), failure.what() + keep_failure(disk(), failed));
  }
}

cache::Entry Builder::compile(const plan::KernelConfig& config, std::string* log) const {
  return compile(config, blueprint(config), log, {});
}

cache::Entry Builder::compile(const plan::KernelConfig& config, const Blueprint& plan, std::string* log,
                              const std::stop_token& stop) const {
  const auto nvrtc = compiler();
  check_target(*nvrtc, config.capability, plan.target);
  log_.info("compiling {}", plan.source.name);
  auto binary = nvrtc->compile(plan.source.text(), plan.source.name, plan.source.entry, plan.options, stop);
  const auto spills = binary.resources.spill_bytes();
  log_.info("compiled {} in {:.0f} ms: {} registers, {} bytes spilled", plan.source.name, binary.compile_ms,
            binary.resources.registers, spills);
  if (log != nullptr) *log = std::move(binary.log);
  return {.kernel_id = plan.kernel_id,
          .build_id = cache::build_id(plan.kernel_id, nvrtc->identity()),
          .target = plan.target,
          .compiler = nvrtc->identity(),
          .name = plan::name_of(config),
          .config = plan.source.header,
          .entry = plan.source.entry,
          .registers = binary.resources.registers,
          .spill_bytes = spills,
          .smem_bytes = config.smem_bytes,
          .compile_ms = binary.compile_ms,
          .image = std::move(binary.image)};
}

std::optional<jit::CompilerFile> Builder::compiler_file() const {
  std::call_once(find_once_, [this] { compiler_file_ = jit::search_compiler(search_places_, &searched_); });
  return compiler_file_;
}

std::shared_ptr<const jit::Compiler> Builder::compiler() const {
  const auto file = compiler_file();
  if (!file) {
    base::fail(ErrorCode::compile,
               "NVRTC was not found, and this kernel is in no cache. Install the nvidia-cuda-nvrtc package (12.9 or "
               "newer), set KILN_NVRTC_PATH, or ship kernels made by `kiln precompile`. Looked at: {}",
               searched_);
  }
  const std::scoped_lock lock(load_mutex_);
  if (!compiler_) compiler_ = jit::Compiler::load(*file);
  return compiler_;
}

std::string Builder::target_for(int capability) const {
  const auto known = plan::known_capabilities();
  if (std::ranges::find(known, capability) != known.end()) return fmt::format("sm_{}", capability);
  // A GPU newer than this Kiln: only the compiler knows what it can make for it.
  const bool can_ask = options_.jit && compiler_file();
  const auto supported = can_ask ? compiler()->supported_capabilities() : std::vector(known.begin(), known.end());
  const std::string target = jit::choose_target(capability, supported);
  if (target != fmt::format("sm_{}", capability)) {
    std::call_once(unknown_once_, [&] {
      log_.warning("neither Kiln nor {} knows compute capability {}.{}: its kernels are built for {}{}",
                   can_ask ? "NVRTC " + compiler()->version() : "an NVRTC (none is used)", capability / 10,
                   capability % 10, target, target.starts_with("sm_") ? "" : ", which the driver compiles once more");
    });
  }
  return target;
}

std::string Builder::near_misses(const Blueprint& plan) const {
  std::string text;
  const std::string name = std::filesystem::path(plan.source.name).stem();
  for (const auto& store : precompiled_) {
    const auto* const packed = std::get_if<cache::PackStore>(&store);
    if (packed == nullptr) continue;
    const cache::Pack* const pack = packed->pack();
    if (pack == nullptr) {
      text += fmt::format(" A pack is not used: {}.", packed->refusal());
      continue;
    }
    for (std::size_t i = 0; i < pack->size(); ++i) {
      const auto entry = pack->at(i);
      if (entry.name != name || entry.target != plan.target) continue;
      text += fmt::format(
          " {} has a {} with kernel id {:.16}…: made by another version of Kiln, or with other "
          "templates or options.",
          packed->name(), name, entry.kernel_id);
    }
  }
  return text;
}

void Builder::fail_missing(const plan::KernelConfig& config, const Blueprint& plan) const {
  const auto& request = config.request;
  base::fail(ErrorCode::missing_kernel,
             "JIT is off and no kernel is kept for {} on {} (kernel id {:.16}…).{} Make it with: kiln precompile "
             "{} --arch {} -o FOLDER{}, and set KILN_PRECOMPILED",
             plan::describe(request), plan.target, plan.kernel_id, near_misses(plan), plan::tool_options(request),
             config.capability, options_.template_dir ? " --template-dir " + options_.template_dir->string() : "");
}

}  // namespace kiln::api
