#pragma once

#include "base/json.hpp"

#include <kiln/runtime.hpp>

#include <string>
#include <string_view>

namespace kiln::plan {

/// The names that options, manifests, tables and the tool use for the values of a request.
std::string_view to_string(KernelKind kind);
std::string_view to_string(DType dtype);
std::string_view to_string(Alignment alignment);
std::string_view to_string(Window window);
std::string_view to_string(Bias bias);

/// The value behind a name; Error(invalid_argument) lists the names there are and says `where`.
KernelKind parse_kind(std::string_view name, std::string_view where);
DType parse_dtype(std::string_view name, std::string_view where);
Alignment parse_alignment(std::string_view name, std::string_view where);
Window parse_window(std::string_view name, std::string_view where);
Bias parse_bias(std::string_view name, std::string_view where);

/// A yes-or-no member of a config, and what files and the tool call it.
struct FlagName {
  bool AttentionConfig::* member;
  std::string_view name;
};
std::span<const FlagName> flag_names();

/// "forward bf16 d128 causal", "merge f32 to bf16 d128": for messages and tables.
std::string describe(const KernelRequest& request);

/// The options by which the tool names a request: "--kind forward --dtype bf16 --head-dim 128/128 --causal …".
std::string tool_options(const KernelRequest& request);

/// {"kind": "forward", "dtype": "bf16", "head_dim": 128, "causal": true, …}. Absent members keep their
/// defaults; "head_dim" sets both dims. A merge has "dtype", "out_dtype" and "head_dim" or "head_dim_v". `also` names
/// members that the caller reads itself.
KernelRequest request_from_json(const base::Json& json, std::span<const std::string_view> also = {});
base::Json::Object to_json(const KernelRequest& request);

}  // namespace kiln::plan
