#include "plan/names.hpp"

#include "base/fail.hpp"

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

constexpr std::array kKinds = {Named{KernelKind::forward, "forward"}, Named{KernelKind::decode, "decode"}};
constexpr std::array kDTypes = {Named{DType::f16, "f16"}, Named{DType::bf16, "bf16"}, Named{DType::f32, "f32"}};
constexpr std::array kAlignments = {Named{Alignment::bottom_right, "bottom_right"},
                                    Named{Alignment::top_left, "top_left"}};
constexpr std::array kWindows = {Named{Window::none, "none"}, Named{Window::sliding, "sliding"}};

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

constexpr int kMostHeadDim = 1 << 16;  // a sane number; what is supported is checked when planning

}  // namespace

std::string_view to_string(KernelKind kind) { return name_of_value(kKinds, kind); }
std::string_view to_string(DType dtype) { return name_of_value(kDTypes, dtype); }
std::string_view to_string(Alignment alignment) { return name_of_value(kAlignments, alignment); }
std::string_view to_string(Window window) { return name_of_value(kWindows, window); }

KernelKind parse_kind(std::string_view name, std::string_view where) { return parse_name(kKinds, name, where); }
DType parse_dtype(std::string_view name, std::string_view where) { return parse_name(kDTypes, name, where); }
Alignment parse_alignment(std::string_view name, std::string_view where) {
  return parse_name(kAlignments, name, where);
}
Window parse_window(std::string_view name, std::string_view where) { return parse_name(kWindows, name, where); }

KernelRequest request_from_json(const base::Json& json, std::span<const std::string_view> also) {
  std::vector<std::string_view> known = {"kind",       "dtype",  "head_dim",  "head_dim_qk",
                                         "head_dim_v", "causal", "alignment", "window"};
  known.insert(known.end(), also.begin(), also.end());
  json.allow_keys(known);

  KernelRequest request;
  auto& config = request.config;
  const auto read_dim = [&](std::string_view key, int& dim) {
    if (const auto* value = json.find(key)) dim = static_cast<int>(value->as_int(1, kMostHeadDim));
  };
  const auto read_name = [&](std::string_view key, auto& target, auto parse) {
    if (const auto* value = json.find(key)) target = parse(value->as_string(), value->where());
  };
  read_name("kind", request.kind, parse_kind);
  read_name("dtype", config.dtype, parse_dtype);
  read_dim("head_dim", config.head_dim_qk);
  config.head_dim_v = config.head_dim_qk;
  read_dim("head_dim_qk", config.head_dim_qk);
  read_dim("head_dim_v", config.head_dim_v);
  if (const auto* causal = json.find("causal")) config.causal = causal->as_bool();
  read_name("alignment", config.alignment, parse_alignment);
  read_name("window", config.window, parse_window);
  return request;
}

base::Json::Object to_json(const KernelRequest& request) {
  const auto& config = request.config;
  return {{"kind", to_string(request.kind)},   {"dtype", to_string(config.dtype)},
          {"head_dim_qk", config.head_dim_qk}, {"head_dim_v", config.head_dim_v},
          {"causal", config.causal},           {"alignment", to_string(config.alignment)},
          {"window", to_string(config.window)}};
}

}  // namespace kiln::plan
