#include "cache/pack_store.hpp"

#include "cache/mapped_file.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <mutex>
#include <system_error>
#include <utility>

namespace kiln::cache {

struct PackStore::Opened {
  std::once_flag once;
  std::optional<Pack> pack;
  std::string refusal;
};

PackStore::PackStore(std::filesystem::path file, Trust trust, base::Logger log)
    : file_(std::move(file)), trust_(trust), log_(std::move(log)), opened_(std::make_shared<Opened>()) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(file_, error);  // the program may change its folder later
  if (!error) file_ = absolute;
  name_ = file_.string();
}

PackStore::PackStore(std::span<const std::byte> bytes, base::Logger log)
    : name_("a pack built into the program"),
      bytes_(bytes),
      log_(std::move(log)),
      opened_(std::make_shared<Opened>()) {}

void PackStore::open(Opened& opened) const {
  MappedFile file{.bytes = bytes_};
  if (!file_.empty()) file = map_file(file_, trust_);
  if (file.error) {
    opened.refusal = describe(file.error, file_);
  } else if (!file.refused.empty()) {
    opened.refusal = fmt::format("{} {}", name_, file.refused);
  } else {
    std::string why;
    opened.pack = Pack::open(file.bytes, std::move(file.keeper), why);
    if (!opened.pack) opened.refusal = fmt::format("{}: {}", name_, why);
  }
  if (opened.pack || file.error.error == ENOENT) return;
  log_.warning("{}: no kernel of this pack is used", opened.refusal);
}

const PackStore::Opened& PackStore::opened() const {
  std::call_once(opened_->once, [this] { open(*opened_); });
  return *opened_;
}

std::optional<Entry> PackStore::find_kernel(std::string_view kernel_id) const {
  const Pack* const found = pack();
  return found != nullptr ? found->find_kernel(kernel_id) : std::nullopt;
}

const Pack* PackStore::pack() const {
  const auto& pack = opened().pack;
  return pack ? &*pack : nullptr;
}

const std::string& PackStore::refusal() const { return opened().refusal; }

}  // namespace kiln::cache
