#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace kiln::codegen {

/// The kernel templates: those built into the library, or a folder that replaces them all.
class TemplateStore {
 public:
  explicit TemplateStore(std::optional<std::filesystem::path> folder = {}) : folder_(std::move(folder)) {}

  /// The text of e.g. "device/ptx.cuh". Error(io) if there is none, naming where it looked.
  [[nodiscard]] std::string read(std::string_view name) const;

 private:
  std::optional<std::filesystem::path> folder_;
};

}  // namespace kiln::codegen
