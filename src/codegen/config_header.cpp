#include "codegen/render.hpp"
#include "plan/names.hpp"

#include <fmt/format.h>

#include <map>

namespace kiln::codegen {
namespace {

/// The constants of one kernel by name, each with its type and value spelt out.
class Facts {
 public:
  void add(const char* name, bool value) { lines_[name] = fmt::format("inline constexpr bool {} = {};", name, value); }
  void add(const char* name, DType value) {
    lines_[name] = fmt::format("KILN_DEVICE consteval device::DType {}() {{ return device::DType::{}; }}", name,
                               plan::to_string(value));
  }
  void add(const char* name, int value) { lines_[name] = fmt::format("inline constexpr int {} = {};", name, value); }

  [[nodiscard]] std::string text() const {
    std::string out;
    for (const auto& [name, line] : lines_) out += line + "\n";
    return out;
  }

 private:
  std::map<std::string, std::string> lines_;  // sorted, so that equal configs give equal bytes
};

}  // namespace

namespace {

Facts facts_of_merge(const plan::KernelConfig& config) {
  const auto& merge = config.request.merge;
  Facts facts;
  facts.add("kCapability", config.capability);
  facts.add("kCtasPerSm", config.tiling.ctas_per_sm);
  facts.add("dtype", merge.dtype);
  facts.add("kHeadDimV", merge.head_dim_v);
  facts.add("out_dtype", merge.out_dtype);
  facts.add("kTileN", config.tiling.tile_n);
  facts.add("kWarps", config.tiling.warps);
  return facts;
}

Facts facts_of_attention(const plan::KernelConfig& config) {
  const auto& attention = config.request.config;
  Facts facts;
  facts.add("kAlibi", attention.alibi);
  facts.add("kAlignTopLeft", attention.alignment == Alignment::top_left);
  facts.add("kAllowTf32", attention.allow_tf32);
  facts.add("kBiasAdditive", attention.bias == Bias::additive);
  facts.add("kBiasMask", attention.bias == Bias::mask);
  facts.add("kCapability", config.capability);
  facts.add("kCausal", attention.causal);
  facts.add("kCtasPerSm", config.tiling.ctas_per_sm);
  facts.add("dtype", attention.dtype);
  facts.add("kFixedWindow", attention.window == Window::fixed);
  facts.add("kHeadDimQk", attention.head_dim_qk);
  facts.add("kHeadDimV", attention.head_dim_v);
  facts.add("kOutputF32", attention.output_f32);
  facts.add("kPaged", attention.paged);
  facts.add("kRagged", attention.ragged);
  facts.add("kSinks", attention.sinks);
  facts.add("kSlidingWindow", attention.window == Window::sliding);
  facts.add("kSmemBytes", config.smem_bytes);
  facts.add("kSoftcap", attention.softcap);
  facts.add("kStages", config.tiling.stages);
  facts.add("kTileM", config.tiling.tile_m);
  facts.add("kTileN", config.tiling.tile_n);
  facts.add("kWarps", config.tiling.warps);
  facts.add("kWindowLeft", attention.window_left);
  facts.add("kWindowRight", attention.window_right);
  return facts;
}

}  // namespace

std::string config_header(const plan::KernelConfig& config) {
  const bool merge = config.request.kind == KernelKind::merge;
  const Facts facts = merge ? facts_of_merge(config) : facts_of_attention(config);
  return "namespace kiln::config {\n\n" + facts.text() + "\n}  // namespace kiln::config\n";
}

}  // namespace kiln::codegen
