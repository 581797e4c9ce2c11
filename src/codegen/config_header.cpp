#include "codegen/render.hpp"
#include "plan/names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace kiln::codegen {
namespace {

/// The constants of one kernel.
class Facts {
 public:
  using Value = std::variant<bool, int, DType>;

  void add(std::string_view name, Value value) { facts_.emplace_back(name, value); }

  [[nodiscard]] std::string text() const {
    auto sorted = facts_;  // so that equal configs give equal bytes
    std::ranges::sort(sorted, {}, &Fact::first);
    std::string out;
    constexpr std::size_t kLineBytes = 64;
    out.reserve(sorted.size() * kLineBytes);
    for (const auto& [name, value] : sorted) append_line(out, name, value);
    return out;
  }

 private:
  using Fact = std::pair<std::string_view, Value>;

  /// Each has its type and value spelt out.
  static void append_line(std::string& out, std::string_view name, const Value& value) {
    const auto line = std::back_inserter(out);
    if (const auto* flag = std::get_if<bool>(&value)) {
      fmt::format_to(line, "inline constexpr bool {} = {};\n", name, *flag);
    } else if (const auto* number = std::get_if<int>(&value)) {
      fmt::format_to(line, "inline constexpr int {} = {};\n", name, *number);
    } else {
      fmt::format_to(line, "KILN_DEVICE consteval device::DType {}() {{ return device::DType::{}; }}\n", name,
                     plan::to_string(std::get<DType>(value)));
    }
  }

  std::vector<Fact> facts_;
};

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
