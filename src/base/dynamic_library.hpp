#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace kiln::base {

/// A shared library opened at run time. Stays open until destroyed.
class DynamicLibrary {
 public:
  /// Empty, with the loader's words in `why`, if it can't be opened. `name` is a path or a soname.
  static std::optional<DynamicLibrary> open(const std::filesystem::path& name, std::string& why);

  DynamicLibrary(DynamicLibrary&& other) noexcept;
  DynamicLibrary& operator=(DynamicLibrary&& other) noexcept;
  DynamicLibrary(const DynamicLibrary&) = delete;
  DynamicLibrary& operator=(const DynamicLibrary&) = delete;
  ~DynamicLibrary();

  /// Null if there is no such symbol.
  [[nodiscard]] void* symbol(const char* name) const noexcept;
  /// Leaves it in memory for good, for one that does not give back all it took when it is unloaded.
  void never_unload() noexcept;
  /// The file that was opened, as the loader found it.
  [[nodiscard]] std::filesystem::path path() const;

 private:
  explicit DynamicLibrary(void* handle) : handle_(handle) {}
  void* handle_ = nullptr;
};

}  // namespace kiln::base
