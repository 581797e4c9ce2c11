#include "codegen/render.hpp"

#include "base/fail.hpp"
#include "plan/names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

namespace kiln::codegen {
namespace {

// The include that stands for the generated header.
constexpr std::string_view kConfigInclude = "default_config.cuh";
// Declares the types of its constants.
constexpr std::string_view kConfigTypes = "device/base.cuh";

std::string_view template_of(KernelKind kind) {
  return kind == KernelKind::forward ? "attention/forward_sm80.cu" : "attention/decode_sm80.cu";
}

/// The name between the quotes of an #include line.
std::optional<std::string_view> included_file(std::string_view line) {
  constexpr std::string_view kBegin = "#include \"";
  if (!line.starts_with(kBegin)) return {};
  line.remove_prefix(kBegin.size());
  return line.substr(0, line.find('"'));
}

/// Joins a template and what it includes, depth first, each file once.
class Joiner {
 public:
  Joiner(const TemplateStore& templates, std::string config) : templates_(templates), config_(std::move(config)) {}

  void add(std::string_view name) {
    if (!seen_.emplace(name).second) return;
    if (name == kConfigInclude) {
      add_part("the config: what this kernel is compiled for", config_);
      return;
    }
    const std::string text = templates_.read(name);
    add_part(name, without_includes(text, name));
  }

  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  /// Adds what the text includes before it and returns the rest.
  std::string without_includes(std::string_view text, std::string_view name) {
    std::string rest;
    while (!text.empty()) {
      const auto end = text.find('\n');
      const auto line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (const auto file = included_file(line)) {
        add(*file);
      } else if (line.starts_with("#include")) {
        base::fail(ErrorCode::invalid_argument, "template {}: \"{}\" includes a file that is not a template", name,
                   line);
      } else if (line != "#pragma once") {
        rest.append(line).push_back('\n');
      }
    }
    return rest;
  }

  void add_part(std::string_view title, std::string_view text) {
    while (text.starts_with('\n')) text.remove_prefix(1);
    while (text.ends_with("\n\n")) text.remove_suffix(1);
    out_ += fmt::format("\n// ---- {} {:-<{}}\n\n{}", title, "", 100 - std::min<std::size_t>(90, title.size()), text);
  }

  const TemplateStore& templates_;
  std::string config_;
  std::set<std::string, std::less<>> seen_;
  std::string out_;
};

}  // namespace

Source render(const plan::KernelConfig& config, const TemplateStore& templates) {
  const auto name = plan::name_of(config);
  Joiner joiner(templates, config_header(config));
  // The config comes first whether or not the template's own includes come before it.
  joiner.add(kConfigTypes);
  joiner.add(kConfigInclude);
  joiner.add(template_of(config.request.kind));
  return {.name = name + ".cu",
          .text = fmt::format("// {}: {} attention, {}. Rendered by Kiln.\n{}", name,
                              plan::to_string(config.request.kind), to_string(config.request.config), joiner.take()),
          .entry = fmt::format("kiln_{}", plan::to_string(config.request.kind))};
}

}  // namespace kiln::codegen
