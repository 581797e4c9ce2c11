#pragma once

#include "api/stores.hpp"
#include "base/log.hpp"
#include "cache/disk_store.hpp"
#include "cache/entry.hpp"
#include "codegen/render.hpp"
#include "jit/compiler.hpp"
#include "jit/compiler_search.hpp"
#include "plan/kernel_config.hpp"

#include <kiln/options.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace kiln::api {

/// A config rendered and named, before anything is looked up.
struct Blueprint {
  codegen::Source source;
  std::string target;                ///< "sm_90"
  std::vector<std::string> options;  ///< NVRTC's
  std::string kernel_id;
};

struct Built {
  cache::Entry entry;
  Origin origin = Origin::compiled;
};

/// Turns configs into cubins: precompiled folders and packs, then disk, then NVRTC. Needs no GPU. Thread-safe.
class Builder {
 public:
  Builder(const Options& options, base::Logger log);

  [[nodiscard]] Blueprint blueprint(const plan::KernelConfig& config) const;

  /// Looks the kernel up and compiles it if it must. `before_compile` is called just before that, and
  /// may throw to forbid it. Error(cancelled) if a stop is asked for before it is compiled.
  [[nodiscard]] Built find_or_compile(const plan::KernelConfig& config,
                                      const std::function<void()>& before_compile = {},
                                      const std::stop_token& stop = {}) const;
  /// Compiles whatever is kept where, and keeps nothing: what the tuner and `kiln compile` want.
  [[nodiscard]] cache::Entry compile(const plan::KernelConfig& config, std::string* log = nullptr) const;

  /// The compiler file that would be used; nothing is loaded.
  [[nodiscard]] std::optional<jit::CompilerFile> compiler_file() const;
  /// The folder kernels are kept in, if any.
  [[nodiscard]] const cache::DiskStore* disk() const { return disk_ ? &*disk_ : nullptr; }

 private:
  [[nodiscard]] std::shared_ptr<const jit::Compiler> compiler() const;
  [[nodiscard]] std::string target_for(int capability) const;
  [[nodiscard]] cache::Entry compile(const plan::KernelConfig& config, const Blueprint& blueprint, std::string* log,
                                     const std::stop_token& stop) const;
  /// As compile(); what fails is kept for a person to look at.
  [[nodiscard]] Built compile_anew(const plan::KernelConfig& config, const Blueprint& blueprint,
                                   const std::stop_token& stop) const;
  [[nodiscard]] std::optional<Built> find(const Blueprint& blueprint) const;
  [[nodiscard]] bool fits(const cache::Entry& entry, const Blueprint& blueprint) const;
  /// What packs have in place of this kernel, for the message that it is missing.
  [[nodiscard]] std::string near_misses(const Blueprint& blueprint) const;
  [[noreturn]] void fail_missing(const plan::KernelConfig& config, const Blueprint& blueprint) const;

  Options options_;
  base::Logger log_;
  codegen::Renderer renderer_;
  std::vector<std::string> environment_options_;  ///< variables that change what NVRTC makes
  jit::SearchPlaces search_places_;               ///< where NVRTC is looked for, as the environment said at first
  std::vector<Precompiled> precompiled_;
  std::optional<cache::DiskStore> disk_;

  // Found and loaded at first need: a warm start wants neither.
  mutable std::once_flag find_once_;
  mutable std::once_flag unknown_once_;  ///< for the warning of a capability that nobody knows
  mutable std::optional<jit::CompilerFile> compiler_file_;
  mutable std::string searched_;
  mutable std::mutex load_mutex_;
  mutable std::shared_ptr<const jit::Compiler> compiler_;
};

}  // namespace kiln::api
