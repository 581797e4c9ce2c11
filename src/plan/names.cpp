#include "plan/names.hpp"

#include "base/fail.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace kiln::plan {
namespace {

template <class Value>
struct Named {
  Value value;
  std::string_view name;
};

constexpr std::array kKinds = {Named{KernelKind::forward, "forward"}, Named{KernelKind::decode, "decode"},
                               Named{KernelKind::merge, "merge"}};
constexpr std::array kDTypes = {Named{DType::f16, "f16"}, Named{DType::bf16, "bf16"}, Named{DType::f32, "f32"}};
constexpr std::array kAlignments = {Named{Alignment::bottom_right, "bottom_right"},
                                    Named{Alignment::top_left, "top_left"}};
constexpr std::array kWindows = {Named{Window::none, "none"}, Named{Window::sliding, "sliding"},
                                 Named{Window::fixed, "fixed"}};
constexpr std::array kBiases = {Named{Bias::none, "none"}, Named{Bias::additive, "additive"},
                                Named{Bias::mask, "mask"}};

template <class Names, class Value>
std::string_view name_of_value(const Names& names, Value value) {
  return std::ranges::find(names, value, &Names::value_type::value)->name;
}

template <class Names>
auto parse_name(const Names& names, std::string_view name, std::string_view where) {
  const auto* found = std::ranges::find(names, name, &Names::value_type::name);
  if (found == names.end()) {
    std::vector<std::string_view> known;
    for (const auto& entry : names) known.push_back(entry.name);
    base::fail(ErrorCode::invalid_argument, "{}: \"{}\" is not one of {}", where, name, fmt::join(known, ", "));
  }
  return found->value;
}

constexpr int kSaneHeadDim = 1 << 16;  // sane numbers; what is supported is checked when planning
constexpr int kMostWindowSide = 1 << 30;

/// The members that are true or false.
constexpr std::array kFlags = {
    FlagName{&AttentionConfig::causal, "causal"},         FlagName{&AttentionConfig::softcap, "softcap"},
    FlagName{&AttentionConfig::alibi, "alibi"},           FlagName{&AttentionConfig::sinks, "sinks"},
    FlagName{&AttentionConfig::ragged, "ragged"},         FlagName{&AttentionConfig::paged, "paged"},
    FlagName{&AttentionConfig::output_f32, "output_f32"}, FlagName{&AttentionConfig::allow_tf32, "allow_tf32"}};

}  // namespace

std::span<const FlagName> flag_names() { return kFlags; }

std::string_view to_string(KernelKind kind) { return name_of_value(kKinds, kind); }
std::string_view to_string(DType dtype) { return name_of_value(kDTypes, dtype); }
std::string_view to_string(Alignment alignment) { return name_of_value(kAlignments, alignment); }
std::string_view to_string(Window window) { return name_of_value(kWindows, window); }
std::string_view to_string(Bias bias) { return name_of_value(kBiases, bias); }

KernelKind parse_kind(std::string_view name, std::string_view where) { return parse_name(kKinds, name, where); }
DType parse_dtype(std::string_view name, std::string_view where) { return parse_name(kDTypes, name, where); }
Alignment parse_alignment(std::string_view name, std::string_view where) {
  return parse_name(kAlignments, name, where);
}
Window parse_window(std::string_view name, std::string_view where) { return parse_name(kWindows, name, where); }
Bias parse_bias(std::string_view name, std::string_view where) { return parse_name(kBiases, name, where); }

std::string describe(const KernelRequest& request) {
  const bool merge = request.kind == KernelKind::merge;
  return fmt::format("{} {}", to_string(request.kind), merge ? to_string(request.merge) : to_string(request.config));
}

namespace {

std::string merge_options(const MergeConfig& merge) {
  std::string text = fmt::format("--kind merge --dtype {} --head-dim {}", to_string(merge.dtype), merge.head_dim_v);
  if (merge.out_dtype != merge.dtype) text += fmt::format(" --out-dtype {}", to_string(merge.out_dtype));
  return text;
}

}  // namespace

std::string tool_options(const KernelRequest& request) {
  if (request.kind == KernelKind::merge) return merge_options(request.merge);
  const auto& config = request.config;
  std::string text = fmt::format("--kind {} --dtype {} --head-dim {}/{}", to_string(request.kind),
                                 to_string(config.dtype), config.head_dim_qk, config.head_dim_v);
  if (config.causal) text += " --causal";
  if (config.alignment == Alignment::top_left) text += " --align top-left";
  if (config.window == Window::sliding) text += " --window";
  const auto side = [](int keys) { return keys < 0 ? "open" : fmt::format("{}", keys); };
  if (config.window == Window::fixed) {
    text += fmt::format(" --fixed-window {}/{}", side(config.window_left), side(config.window_right));
  }
  std::vector<std::string_view> with;
  for (const auto& flag : kFlags) {
    if (config.*flag.member && flag.member != &AttentionConfig::causal) with.push_back(flag.name);
  }
  if (config.bias != Bias::none) with.push_back(to_string(config.bias));
  if (config.decode_rows != AttentionConfig{}.decode_rows) text += fmt::format(" --decode-rows {}", config.decode_rows);
  if (!with.empty()) text += fmt::format(" --with {}", fmt::join(with, ","));
  return text;
}

namespace {

int dim_from_json(const base::Json& json, std::string_view key, int otherwise) {
  const auto* value = json.find(key);
  return value != nullptr ? static_cast<int>(value->as_int(1, kSaneHeadDim)) : otherwise;
}

/// The result has the states' type unless it says another.
KernelRequest merge_from_json(const base::Json& json, std::span<const std::string_view> also) {
  std::vector<std::string_view> known = {"kind", "dtype", "out_dtype", "head_dim", "head_dim_v"};
  known.insert(known.end(), also.begin(), also.end());
  json.allow_keys(known);
  KernelRequest request{.kind = KernelKind::merge};
  auto& merge = request.merge;
  if (const auto* value = json.find("dtype")) merge.dtype = parse_dtype(value->as_string(), value->where());
  merge.out_dtype = merge.dtype;
  if (const auto* value = json.find("out_dtype")) merge.out_dtype = parse_dtype(value->as_string(), value->where());
  merge.head_dim_v = dim_from_json(json, "head_dim_v", dim_from_json(json, "head_dim", merge.head_dim_v));
  return request;
}

base::Json::Object merge_to_json(const MergeConfig& merge) {
  return {{"kind", to_string(KernelKind::merge)},
          {"dtype", to_string(merge.dtype)},
          {"out_dtype", to_string(merge.out_dtype)},
          {"head_dim_v", merge.head_dim_v}};
}

}  // namespace

KernelRequest request_from_json(const base::Json& json, std::span<const std::string_view> also) {
  if (const auto* kind = json.find("kind");
      kind != nullptr && parse_kind(kind->as_string(), kind->where()) == KernelKind::merge) {
    return merge_from_json(json, also);
  }
  std::vector<std::string_view> known = {"kind",         "dtype",     "head_dim",   "head_dim_qk",
                                         "head_dim_v",   "alignment", "window",     "window_left",
                                         "window_right", "bias",      "decode_rows"};
  known.insert(known.end(), also.begin(), also.end());
  for (const auto& flag : kFlags) known.push_back(flag.name);
  json.allow_keys(known);

  KernelRequest request;
  auto& config = request.config;
  const auto read_name = [&](std::string_view key, auto& target, auto parse) {
    if (const auto* value = json.find(key)) target = parse(value->as_string(), value->where());
  };
  read_name("kind", request.kind, parse_kind);
  read_name("dtype", config.dtype, parse_dtype);
  const int both = dim_from_json(json, "head_dim", config.head_dim_qk);
  config.head_dim_qk = dim_from_json(json, "head_dim_qk", both);
  config.head_dim_v = dim_from_json(json, "head_dim_v", both);
  read_name("alignment", config.alignment, parse_alignment);
  read_name("window", config.window, parse_window);
  const auto read_side = [&](std::string_view key, int& side) {
    if (const auto* value = json.find(key)) side = static_cast<int>(value->as_int(-1, kMostWindowSide));
  };
  read_side("window_left", config.window_left);
  read_side("window_right", config.window_right);
  read_name("bias", config.bias, parse_bias);
  if (const auto* value = json.find("decode_rows"))
    config.decode_rows = static_cast<int>(value->as_int(1, kSaneHeadDim));
  for (const auto& flag : kFlags) {
    if (const auto* value = json.find(flag.name)) config.*flag.member = value->as_bool();
  }
  return request;
}

base::Json::Object to_json(const KernelRequest& request) {
  if (request.kind == KernelKind::merge) return merge_to_json(request.merge);
  const auto& config = request.config;
  base::Json::Object json = {{"kind", to_string(request.kind)},   {"dtype", to_string(config.dtype)},
                             {"head_dim_qk", config.head_dim_qk}, {"head_dim_v", config.head_dim_v},
                             {"causal", config.causal},           {"alignment", to_string(config.alignment)},
                             {"window", to_string(config.window)}};
  // What few requests have is written only where it is there, so that files stay readable.
  if (config.window == Window::fixed) {
    json["window_left"] = config.window_left;
    json["window_right"] = config.window_right;
  }
  if (config.bias != Bias::none) json["bias"] = to_string(config.bias);
  if (config.decode_rows != AttentionConfig{}.decode_rows) json["decode_rows"] = config.decode_rows;
  for (const auto& flag : kFlags) {
    if (config.*flag.member) json[std::string(flag.name)] = true;
  }
  return json;
}

}  // namespace kiln::plan
