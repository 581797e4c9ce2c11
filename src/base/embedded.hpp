#pragma once

#include <span>
#include <string_view>

namespace kiln::embedded {

/// A text file built into the library (cmake/KilnEmbed.cmake).
struct EmbeddedFile {
  std::string_view name;
  std::string_view text;
};

std::span<const EmbeddedFile> templates();
std::span<const EmbeddedFile> tuned_tables();

}  // namespace kiln::embedded
