#include "cli/manifest.hpp"

#include "base/fail.hpp"
#include "plan/device_info.hpp"
#include "plan/names.hpp"
#include "plan/plan.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <string>

namespace kiln::cli {
namespace {

constexpr std::string_view kArchitectures = "architectures";
// A product of lists can explode; no honest manifest comes near.
constexpr std::size_t kMostKernels = 100'000;

bool are_all(const base::Json& architectures) { return architectures.is_string(); }

std::vector<int> read_architectures(const base::Json& json) {
  const auto known = plan::known_capabilities();
  std::vector<int> architectures;
  const auto add = [&](const base::Json& value) {
    const auto architecture = static_cast<int>(value.as_int(0, 9999));
    if (std::ranges::find(known, architecture) == known.end()) {
      base::fail(ErrorCode::invalid_argument, "{}: {} is not one of {}, or \"all\"", value.where(), architecture,
                 fmt::join(known, ", "));
    }
    architectures.push_back(architecture);
  };
  if (json.is_string()) {
    if (json.as_string() != "all") {
      base::fail(ErrorCode::invalid_argument, "{}: \"{}\" is neither a list nor \"all\"", json.where(),
                 json.as_string());
    }
    return {known.begin(), known.end()};
  }
  for (const base::Json& value : json.as_array()) add(value);
  if (architectures.empty()) base::fail(ErrorCode::invalid_argument, "{} is empty", json.where());
  return architectures;
}

/// Every combination of the members that are lists; `others` stand before them in the manifest.
std::vector<base::Json> combinations(const base::Json& kernel, std::size_t others) {
  std::vector<base::Json> partial = {kernel};
  const auto check = [&](std::size_t count) {
    if (others + count <= kMostKernels) return;
    base::fail(ErrorCode::invalid_argument, "{}: with this the manifest stands for more than {} kernels",
               kernel.where(), kMostKernels);
  };
  check(1);
  for (const auto& [key, value] : kernel.as_object()) {
    if (key == kArchitectures || !value.is_array()) continue;
    if (value.as_array().empty()) base::fail(ErrorCode::invalid_argument, "{} is empty", value.where());
    check(partial.size() * value.as_array().size());
    std::vector<base::Json> wider;
    for (const base::Json& before : partial) {
      for (const base::Json& choice : value.as_array()) {
        wider.push_back(before);
        wider.back()[key] = choice;
      }
    }
    partial = std::move(wider);
  }
  return partial;
}

}  // namespace

std::vector<ManifestItem> parse_manifest(std::string_view text, std::string_view origin) {
  static constexpr std::array<std::string_view, 2> kKnown = {kArchitectures, "kernels"};
  static constexpr std::array<std::string_view, 1> kAlso = {kArchitectures};
  const auto root = base::Json::parse(text, origin);
  root.allow_keys(kKnown);

  std::set<ManifestItem> seen;
  std::vector<ManifestItem> items;
  std::size_t count = 0;
  for (const base::Json& kernel : root.at("kernels").as_array()) {
    const base::Json* own = kernel.find(kArchitectures);
    const base::Json& asked = own != nullptr ? *own : root.at(kArchitectures);
    const auto architectures = read_architectures(asked);
    const auto singles = combinations(kernel, count);
    count += singles.size();
    for (const base::Json& single : singles) {
      const KernelRequest request = plan::request_from_json(single, kAlso);
      for (const int architecture : architectures) {
        if (are_all(asked) && !plan::has_types(architecture, request)) continue;
        const ManifestItem item{request, architecture};
        if (seen.insert(item).second) items.push_back(item);
      }
    }
  }
  if (items.empty()) base::fail(ErrorCode::invalid_argument, "{}: \"kernels\" is empty", origin);
  return items;
}

}  // namespace kiln::cli
