#include "codegen/template_store.hpp"

#include "base/embedded.hpp"
#include "base/fail.hpp"
#include "base/files.hpp"

namespace kiln::codegen {

std::string TemplateStore::read(std::string_view name) const {
  if (folder_) return base::read_file(*folder_ / name);
  for (const auto& file : embedded::templates()) {
    if (file.name == name) return std::string(file.text);
  }
  base::fail(ErrorCode::io, "there is no template {} among those built in", name);
}

}  // namespace kiln::codegen
