#pragma once

#include "base/log.hpp"
#include "cache/pack.hpp"
#include "cache/trust.hpp"

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kiln::cache {

/// A pack to look for kernels in, opened and verified at the first look. No trouble with it is fatal: a pack that can't
/// be used holds nothing, with one warning. Thread-safe; copies share what was opened.
class PackStore {
 public:
  /// A file. One that is not there is passed over, without a warning.
  PackStore(std::filesystem::path file, Trust trust, base::Logger log);
  /// Bytes that stay as they are for as long as anyone uses a kernel of them.
  PackStore(std::span<const std::byte> bytes, base::Logger log);

  [[nodiscard]] std::optional<Entry> find_kernel(std::string_view kernel_id) const;
  /// Null if it can't be used.
  [[nodiscard]] const Pack* pack() const;
  /// Why not; empty if it can be used.
  [[nodiscard]] const std::string& refusal() const;
  /// The file, or what stands for it in messages.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  struct Opened;
  const Opened& opened() const;
  void open(Opened& opened) const;

  std::string name_;
  std::filesystem::path file_;  ///< empty: bytes
  std::span<const std::byte> bytes_;
  Trust trust_ = Trust::named;
  base::Logger log_;
  std::shared_ptr<Opened> opened_;
};

}  // namespace kiln::cache
