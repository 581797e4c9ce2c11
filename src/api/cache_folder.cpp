#include "api/cache_folder.hpp"

#include <cstdlib>
#include <string_view>

namespace kiln::api {
namespace {

/// Only absolute paths count; the XDG rules say so, and a relative HOME would scatter caches.
std::filesystem::path absolute_folder(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || value[0] != '/' || std::string_view(value) == "/") return {};
  return value;
}

}  // namespace

std::filesystem::path cache_folder(const Options& options, const base::Logger& log) {
  if (options.cache_dir) return *options.cache_dir;
  if (const auto xdg = absolute_folder("XDG_CACHE_HOME"); !xdg.empty()) return xdg / "kiln";
  if (const auto home = absolute_folder("HOME"); !home.empty()) return home / ".cache" / "kiln";
  log.warning("neither KILN_CACHE_DIR, XDG_CACHE_HOME nor HOME names a folder: kernels are kept in memory only");
  return {};
}

}  // namespace kiln::api
