#include "base/dynamic_library.hpp"

#include <dlfcn.h>
#include <link.h>
#include <utility>

namespace kiln::base {

std::optional<DynamicLibrary> DynamicLibrary::open(const std::filesystem::path& name, std::string& why) {
  if (name.empty()) {  // dlopen would take it for the program itself
    why = "the library's name is empty";
    return std::nullopt;
  }
  if (void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return DynamicLibrary(handle);
  const char* reason = dlerror();
  why = reason != nullptr ? reason : "the loader gave no reason";
  return std::nullopt;
}

DynamicLibrary::DynamicLibrary(DynamicLibrary&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

DynamicLibrary& DynamicLibrary::operator=(DynamicLibrary&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

DynamicLibrary::~DynamicLibrary() {
  if (handle_ != nullptr) dlclose(handle_);
}

void* DynamicLibrary::symbol(const char* name) const noexcept {
  return handle_ != nullptr ? dlsym(handle_, name) : nullptr;
}

void DynamicLibrary::never_unload() noexcept {
  void* const again = dlopen(path().c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD | RTLD_NODELETE);
  if (again != nullptr) dlclose(again);  // the mark stays
}

std::filesystem::path DynamicLibrary::path() const {
  link_map* map = nullptr;
  if (handle_ == nullptr || dlinfo(handle_, RTLD_DI_LINKMAP, static_cast<void*>(&map)) != 0 || map == nullptr)
    return {};
  return map->l_name;
}

}  // namespace kiln::base
