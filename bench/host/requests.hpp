#pragma once

#include "api/builder.hpp"
#include "base/fail.hpp"
#include "base/log.hpp"
#include "host/figure.hpp"
#include "jit/compiler.hpp"
#include "plan/plan.hpp"

#include <kiln/kiln.hpp>

#include <fmt/format.h>

#include <string>
#include <vector>

namespace kiln::bench {

/// Forward and decode, d = 64 and 128, plain and causal: what the compile figures are about.
inline std::vector<KernelRequest> usual_requests() {
  std::vector<KernelRequest> out;
  for (const int dim : {64, 128})
    for (const bool causal : {false, true})
      out.push_back({KernelKind::forward, {.head_dim_qk = dim, .head_dim_v = dim, .causal = causal}});
  for (const int dim : {64, 128}) out.push_back({KernelKind::decode, {.head_dim_qk = dim, .head_dim_v = dim}});
  return out;
}

/// What takes longest to compile: the largest plain kernels, and one with all there is.
inline std::vector<KernelRequest> costly_requests() {
  std::vector<KernelRequest> out;
  for (const bool causal : {false, true})
    out.push_back({KernelKind::forward, {.head_dim_qk = 256, .head_dim_v = 256, .causal = causal}});
  out.push_back({KernelKind::forward,
                 {.head_dim_qk = 192,
                  .causal = true,
                  .window = Window::sliding,
                  .softcap = true,
                  .alibi = true,
                  .sinks = true,
                  .bias = Bias::additive,
                  .ragged = true,
                  .paged = true}});
  return out;
}

inline std::string name_of(const KernelRequest& request) {
  return fmt::format("{} {}", request.kind == KernelKind::forward ? "forward" : "decode", to_string(request.config));
}

inline plan::KernelConfig config_of(const KernelRequest& request, int capability) {
  return plan::plan(request, plan::reference_device(capability), plan::builtin_tuned_table(capability));
}

/// Options that keep nothing anywhere.
inline Options cold_options(const Setup& setup) {
  Options options;
  options.cache_dir = std::filesystem::path{};
  options.cuda_path = setup.cuda_path;
  return options;
}

inline std::shared_ptr<const jit::Compiler> load_compiler() {
  const auto file = jit::find_compiler({});
  if (!file) base::fail(ErrorCode::compile, "NVRTC was not found");
  return jit::Compiler::load(*file);
}

inline api::Builder make_builder(const Options& options) { return {options, base::Logger(LogLevel::warning, {})}; }

}  // namespace kiln::bench
