#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

namespace fake_cuda {

/// Objects behind opaque handles. A handle is never given out twice, so a stale one is found out.
template <class T>
class Pool {
 public:
  void* make(T object) {
    const std::uintptr_t handle = next_;
    next_ += 0x10;
    objects_.emplace(handle, std::move(object));
    return reinterpret_cast<void*>(handle);  // NOLINT(performance-no-int-to-ptr): only a name
  }
  T* find(const void* handle) {
    const auto found = objects_.find(reinterpret_cast<std::uintptr_t>(handle));
    return found == objects_.end() ? nullptr : &found->second;
  }
  bool erase(const void* handle) { return objects_.erase(reinterpret_cast<std::uintptr_t>(handle)) != 0; }
  template <class Predicate>
  void erase_if(Predicate&& gone) {
    std::erase_if(objects_, [&](const auto& object) { return gone(object.second); });
  }
  void clear() { objects_.clear(); }

  [[nodiscard]] std::size_t size() const { return objects_.size(); }
  auto begin() { return objects_.begin(); }
  auto end() { return objects_.end(); }

 private:
  std::uintptr_t next_ = 0x1000;
  std::map<std::uintptr_t, T> objects_;
};

}  // namespace fake_cuda
