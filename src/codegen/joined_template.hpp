#pragma once

#include "codegen/template_store.hpp"

#include <string>
#include <string_view>

namespace kiln::codegen {

/// A template and all that it includes, as one text with a place for the config: what every kernel of a kind has.
struct JoinedTemplate {
  std::string text;
  std::size_t config_at = 0;
  std::string digest;  ///< of both parts, in hex

  [[nodiscard]] std::string_view before_config() const { return std::string_view(text).substr(0, config_at); }
  [[nodiscard]] std::string_view after_config() const { return std::string_view(text).substr(config_at); }
};

/// Error(io) for an include that is not there, Error(invalid_argument) for one that is no template.
JoinedTemplate join(std::string_view name, const TemplateStore& templates);

/// Adds one file's text under a line that names it.
void append_part(std::string& out, std::string_view title, std::string_view text);

}  // namespace kiln::codegen
