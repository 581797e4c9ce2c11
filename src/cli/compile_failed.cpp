#include "api/failure_folder.hpp"
#include "base/fail.hpp"
#include "cli/commands.hpp"
#include "cli/report.hpp"
#include "jit/compiler.hpp"

#include <fmt/format.h>

namespace kiln::cli {

ExitCode compile_failed(const Common& common, const std::filesystem::path& folder) {
  const api::KeptFailure kept = api::read_failure(folder);
  std::string searched;
  const auto file = jit::find_compiler(common.options.nvrtc_path, &searched);
  if (!file) base::fail(ErrorCode::missing_kernel, "NVRTC was not found; looked at: {}", searched);
  const std::string name = std::filesystem::absolute(folder / "").parent_path().filename().string();
  const jit::Binary binary = jit::Compiler::load(*file)->compile(kept.source, name, {}, kept.options);
  if (common.json) {
    print_json(base::Json::Object{{"name", name},
                                  {"image_bytes", static_cast<std::uint64_t>(binary.image.size())},
                                  {"compile_ms", binary.compile_ms}});
  } else {
    print(fmt::format("{} compiles with {}: {}, {:.0f} ms\n", name, file->path.string(),
                      bytes_text(binary.image.size()), binary.compile_ms));
  }
  return ExitCode::ok;
}

}  // namespace kiln::cli
