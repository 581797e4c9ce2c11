#include "codegen/enumerators.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace kiln::codegen {
namespace {

constexpr std::array<std::string_view, 6> kIntegers = {"bool", "int", "i32", "u32", "i64", "u16"};

/// Takes the last word off the text, and the blank before it.
std::string_view take_word(std::string_view& text) {
  const auto blank = text.find_last_of(" \n");
  const auto word = text.substr(blank + 1);
  text.remove_suffix(word.size());
  if (text.ends_with(' ')) text.remove_suffix(1);
  return word;
}

struct Constant {
  std::string_view before;  // up to the definition
  std::string_view type;
  std::string_view name;
};

/// What an equals sign at the end of the text gives a value, if it is an integer constant.
std::optional<Constant> constant_at_end(std::string_view text) {
  if (!text.ends_with(' ')) return {};
  text.remove_suffix(1);
  Constant constant;
  constant.name = take_word(text);
  const bool is_constant = constant.name.size() > 1 && constant.name[0] == 'k' && constant.name[1] <= 'Z';
  if (!is_constant) return {};
  constant.type = take_word(text);
  if (std::ranges::find(kIntegers, constant.type) == kIntegers.end()) return {};
  if (take_word(text) != "constexpr") return {};
  const auto how = take_word(text);
  if (how != "inline" && how != "static") return {};
  constant.before = {text.data(), how.data()};
  return constant;
}

}  // namespace

void append_with_enumerators(std::string& out, std::string_view text) {
  std::size_t written = 0;
  // Searches for what is rarer than words: this is part of every start from the disk.
  for (auto equals = text.find('='); equals != std::string_view::npos; equals = text.find('=', equals + 1)) {
    const auto constant = constant_at_end(text.substr(written, equals - written));
    if (!constant) continue;
    const auto end = std::min(text.find(';', equals), text.size());
    out.append(constant->before).append("enum : ").append(constant->type).append(" { ").append(constant->name);
    out.append(" ").append(text.substr(equals, end - equals)).append(" }");
    written = equals = end;
  }
  out.append(text.substr(written));
}

}  // namespace kiln::codegen
