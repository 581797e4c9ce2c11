#pragma once

#include "codegen/template_store.hpp"

#include <string>
#include <string_view>

namespace kiln::codegen {

/// A template and all that it includes, as one text with a place for the config: what every kernel of a kind has.
struct JoinedTemplate {
  std::string before_config;
  std::string after_config;
  std::string digest;  ///< of both, in hex
};

/// Error(io) for an include that is not there, Error(invalid_argument) for one that is no template.
JoinedTemplate join(std::string_view name, const TemplateStore& templates);

/// Adds one file's text under a line that names it.
void append_part(std::string& out, std::string_view title, std::string_view text);

}  // namespace kiln::codegen
