#include "cli/manifest.hpp"

#include "base/fail.hpp"
#include "plan/device_info.hpp"
#include "plan/names.hpp"
#include "plan/plan.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <utility>

namespace kiln::cli {
namespace {

constexpr std::string_view kArchitectures = "architectures";
constexpr std::string_view kKernels = "kernels";
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

/// The kernels that a file names, each once.
class Items {
 public:
  /// One kernel, or what its lists stand for, on the architectures `asked` for.
  void add(const base::Json& kernel, const base::Json& asked) {
    const auto architectures = read_architectures(asked);
    const auto singles = combinations(kernel, count_);
    count_ += singles.size();
    for (const base::Json& single : singles) {
      const KernelRequest request = plan::request_from_json(single, kBesideTheRequest);
      for (const int architecture : architectures) {
        if (are_all(asked) && !plan::has_types(architecture, request)) continue;
        const ManifestItem item{request, architecture};
        if (seen_.insert(item).second) items_.push_back(item);
      }
    }
  }

  std::vector<ManifestItem> take() { return std::move(items_); }

 private:
  static constexpr std::array kBesideTheRequest = {kArchitectures};
  std::set<ManifestItem> seen_;
  std::vector<ManifestItem> items_;
  std::size_t count_ = 0;  // of kernels, those that stand there twice too
};

void read_manifest(const base::Json& root, Items& items) {
  static constexpr std::array kKnown = {kArchitectures, kKernels};
  root.allow_keys(kKnown);
  const auto& kernels = root.at(kKernels).as_array();
  if (kernels.empty()) base::fail(ErrorCode::invalid_argument, "{}: \"{}\" is empty", root.where(), kKernels);
  for (const base::Json& kernel : kernels) {
    const base::Json* own = kernel.find(kArchitectures);
    items.add(kernel, own != nullptr ? *own : root.at(kArchitectures));
  }
}

struct Line {
  std::string text;
  int number = 0;
};

/// Those that are not blank.
std::vector<Line> lines_of(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::vector<Line> lines;
  int number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") != std::string::npos) lines.push_back({line, number});
  }
  return lines;
}

/// Whether a line is a kernel by itself. A manifest on one line is none: it has "kernels" or, should they have been
/// forgotten, nothing but "architectures".
bool is_kernel(const std::string& line) {
  try {
    const auto json = base::Json::parse(line, {});
    const auto& members = json.as_object();
    return !members.contains(kKernels) && members.size() > members.count(kArchitectures);
  } catch (const Error&) {
    return false;
  }
}

void read_record(std::span<const Line> lines, std::string_view origin, Items& items) {
  for (const auto& [text, number] : lines) {
    const auto kernel = base::Json::parse(text, fmt::format("{}:{}", origin, number));
    items.add(kernel, kernel.at(kArchitectures));
  }
}

}  // namespace

std::vector<ManifestItem> parse_manifest(std::string_view text, std::string_view origin) {
  Items items;
  const auto lines = lines_of(text);
  if (!lines.empty() && is_kernel(lines.front().text)) {
    read_record(lines, origin, items);
  } else {
    read_manifest(base::Json::parse(text, origin), items);
  }
  return items.take();
}

}  // namespace kiln::cli
