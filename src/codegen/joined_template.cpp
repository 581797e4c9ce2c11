#include "codegen/joined_template.hpp"

#include "base/fail.hpp"
#include "base/hash_parts.hpp"
#include "codegen/enumerators.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

namespace kiln::codegen {
namespace {

// The include that stands for the generated header.
constexpr std::string_view kConfigInclude = "default_config.cuh";
// Declares the types of its constants.
constexpr std::string_view kConfigTypes = "device/base.cuh";

/// Where the first line begins that the preprocessor reads, or the end. Searches for the rare character, not line by
/// line: joining is part of every start from the disk.
std::size_t next_directive(std::string_view text) {
  for (auto at = text.find('#'); at != std::string_view::npos; at = text.find('#', at + 1)) {
    if (at == 0 || text[at - 1] == '\n') return at;
  }
  return text.size();
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
  /// What would include the config finds it included: it has a place of its own.
  explicit Joiner(const TemplateStore& templates) : templates_(templates), seen_{std::string(kConfigInclude)} {
    constexpr std::size_t kUsual = 112 << 10;  // and less than malloc maps, as growing might not be
    out_.reserve(kUsual);
  }

  void add(std::string_view name) {
    if (!seen_.emplace(name).second) return;
    const std::string text = templates_.read(name);
    append_part(out_, name, without_includes(text, name));
  }
  [[nodiscard]] std::size_t size() const { return out_.size(); }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  /// Adds what the text includes before it and returns the rest.
  std::string without_includes(std::string_view text, std::string_view name) {
    std::string rest;
    rest.reserve(text.size());
    for (;;) {
      const auto before = text.substr(0, next_directive(text));
      rest += before;
      text.remove_prefix(before.size());
      if (text.empty()) break;
      const auto line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
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

  const TemplateStore& templates_;
  std::string out_;
  std::set<std::string, std::less<>> seen_;
};

}  // namespace

void append_part(std::string& out, std::string_view title, std::string_view text) {
  while (text.starts_with('\n')) text.remove_prefix(1);
  while (text.ends_with("\n\n")) text.remove_suffix(1);
  out += fmt::format("\n// ---- {} {:-<{}}\n\n", title, "", 100 - std::min<std::size_t>(90, title.size()));
  append_with_enumerators(out, text);
}

JoinedTemplate join(std::string_view name, const TemplateStore& templates) {
  Joiner joiner(templates);
  JoinedTemplate joined;
  // The config comes first whether or not the template's own includes come before it.
  joiner.add(kConfigTypes);
  joined.config_at = joiner.size();
  joiner.add(name);
  joined.text = joiner.take();
  const std::array<base::HashPart, 2> parts = {
      {{"before config", joined.before_config()}, {"after config", joined.after_config()}}};
  joined.digest = base::hash_parts(parts);
  return joined;
}

}  // namespace kiln::codegen
