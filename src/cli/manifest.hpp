#pragma once

#include "base/json.hpp"

#include <kiln/runtime.hpp>

#include <string_view>
#include <vector>

namespace kiln::cli {

/// One kernel to precompile.
struct ManifestItem {
  KernelRequest request;
  int architecture = 0;

  auto operator<=>(const ManifestItem&) const = default;
};

/// Reads what `kiln precompile` is to make:
///
///   {
///     "architectures": [80, 90],
///     "kernels": [
///       {"kind": "forward", "dtype": ["bf16", "f16"], "head_dim": [64, 128], "causal": [true, false]},
///       {"kind": "decode", "head_dim": 128, "architectures": [90]}
///     ]
///   }
///
/// A member that is a list stands for every combination; "all" names every architecture. What Options::record_file
/// leaves is read too: if the first line is a kernel by itself, each line is one, with architectures of its own. Each
/// kernel is listed once. Anything malformed is an Error(invalid_argument) that names its place.
std::vector<ManifestItem> parse_manifest(std::string_view text, std::string_view origin);

}  // namespace kiln::cli
