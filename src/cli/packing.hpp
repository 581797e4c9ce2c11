#pragma once

#include "cache/entry.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace kiln::cli {

/// What a pack's name ends with: by this `kiln precompile` tells it from a folder.
inline constexpr std::string_view kPackSuffix = ".kilnpack";
bool names_pack(const std::filesystem::path& path);

/// Kernels to put into a pack, each once.
class PackContent {
 public:
  /// Of two builds of one kernel the first is taken.
  void add(cache::Entry entry);
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] std::size_t left_out() const { return left_out_; }
  /// Replaces the pack, or leaves what was there. Returns its bytes.
  [[nodiscard]] std::uint64_t write(const std::filesystem::path& path) const;

 private:
  std::map<std::string, cache::Entry> entries_;  // by kernel id
  std::size_t left_out_ = 0;
};

/// Error(io) if no pack could be written there: to be known before kernels are compiled.
void check_writable(const std::filesystem::path& pack);

}  // namespace kiln::cli
