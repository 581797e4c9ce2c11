#include "cache/pack.hpp"

#include "base/fail.hpp"
#include "base/little_endian.hpp"
#include "base/sha256.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <ranges>
#include <utility>

namespace kiln::cache {
namespace {

using Bytes = std::span<const std::byte>;

// As of an entry, with other letters; the last is the format's version.
constexpr std::array<unsigned char, 8> kPackMagic = {'K', 'P', 'A', 'K', '\r', '\n', 0x1a, 1};
constexpr std::size_t kNumberBytes = 8;

// Header: magic, size of the whole, kernels, bytes of a signature (reserved), digest of all this and the index.
constexpr std::size_t kSizeAt = kPackMagic.size();
constexpr std::size_t kCountAt = kSizeAt + kNumberBytes;
constexpr std::size_t kSignatureAt = kCountAt + kNumberBytes;
constexpr std::size_t kDigestAt = kSignatureAt + kNumberBytes;
constexpr std::size_t kPackHeaderBytes = kDigestAt + base::kDigestBytes;

// Images lie at multiples of this from the pack's begin, and are copied where a program has put the pack itself so that
// not even what an ELF file asks for is left of it.
constexpr std::size_t kAlignment = 64;
constexpr std::size_t kLeastAlignment = 8;

/// A line of the index, as it lies in the pack: kernel id, digest of the entry, where the entry begins, its size.
class Record {
 public:
  static constexpr std::size_t kBytes = 2 * base::kDigestBytes + 2 * kNumberBytes;

  explicit Record(Bytes bytes) : bytes_(bytes) {}
  [[nodiscard]] Bytes id() const { return bytes_.first(base::kDigestBytes); }
  [[nodiscard]] Bytes digest() const { return bytes_.subspan(base::kDigestBytes, base::kDigestBytes); }
  [[nodiscard]] std::uint64_t offset() const { return number(2 * base::kDigestBytes); }
  [[nodiscard]] std::uint64_t size() const { return number(2 * base::kDigestBytes + kNumberBytes); }

 private:
  [[nodiscard]] std::uint64_t number(std::size_t at) const {
    return base::from_little_endian(bytes_.subspan(at, kNumberBytes));
  }
  Bytes bytes_;
};

std::uint64_t count_of(Bytes pack) { return base::from_little_endian(pack.subspan(kCountAt, kNumberBytes)); }

Bytes index_of(Bytes pack) { return pack.subspan(kPackHeaderBytes, count_of(pack) * Record::kBytes); }

Record record_of(Bytes pack, std::size_t index) {
  return Record(index_of(pack).subspan(index * Record::kBytes, Record::kBytes));
}

base::Digest index_digest(Bytes pack) {
  return base::Sha256().update(pack.first(kDigestAt)).update(index_of(pack)).finish();
}

/// Where an entry begins behind what ends at `end`, so that its image is aligned.
std::size_t place(std::size_t end, std::size_t entry_bytes, std::size_t image_bytes) {
  const std::size_t image = end + image_offset(entry_bytes, image_bytes);
  return end + (kAlignment - image % kAlignment) % kAlignment;
}

base::Digest from_hex(std::string_view id) {
  const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
  base::Digest bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(digit(id[2 * i]) << 4U | digit(id[2 * i + 1]));
  }
  return bytes;
}

class PackWriter {
 public:
  void append(Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void append(std::uint64_t value) { append(base::to_little_endian<kNumberBytes>(value)); }
  void fill_up_to(std::size_t size) { out_.resize(size); }
  void overwrite(std::size_t at, Bytes bytes) {
    std::ranges::copy(bytes, out_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  [[nodiscard]] std::vector<std::byte>& out() { return out_; }

 private:
  std::vector<std::byte> out_;
};

/// Why the header says that this is no pack; empty if it is one.
std::string refuse_header(Bytes pack) {
  if (pack.size() < kPackHeaderBytes) return fmt::format("{} bytes are too few", pack.size());
  const auto magic = std::as_bytes(std::span(kPackMagic));
  const std::size_t version_at = kPackMagic.size() - 1;
  if (!std::ranges::equal(pack.first(version_at), magic.first(version_at))) return "not a pack of kernels";
  if (pack[version_at] != magic.back()) {
    return fmt::format("format {}, this is format {}", std::to_integer<int>(pack[version_at]), kPackMagic.back());
  }
  const auto size = base::from_little_endian(pack.subspan(kSizeAt, kNumberBytes));
  if (size != pack.size()) return fmt::format("{} bytes where {} were written", pack.size(), size);
  if (count_of(pack) > (pack.size() - kPackHeaderBytes) / Record::kBytes) return "the index is cut short";
  if (base::from_little_endian(pack.subspan(kSignatureAt, kNumberBytes)) != 0) return "it has a signature";
  if (!std::ranges::equal(index_digest(pack), pack.subspan(kDigestAt, base::kDigestBytes))) {
    return "the index's digest does not match";
  }
  return {};
}

}  // namespace

std::vector<std::byte> encode_pack(std::vector<Entry> entries) {
  std::ranges::sort(entries, {}, &Entry::kernel_id);
  const auto twice = std::ranges::adjacent_find(entries, {}, &Entry::kernel_id);
  if (twice != entries.end()) {
    base::fail(ErrorCode::invalid_argument, "pack: kernel {} is there twice", twice->kernel_id);
  }
  std::vector<std::vector<std::byte>> encoded;
  encoded.reserve(entries.size());
  PackWriter writer;
  writer.append(std::as_bytes(std::span(kPackMagic)));
  writer.append(0);  // known at the end, as is the digest
  writer.append(entries.size());
  writer.append(0);
  writer.append(base::Digest{});
  std::size_t end = kPackHeaderBytes + entries.size() * Record::kBytes;
  for (Entry& entry : entries) {
    entry.compile_ms = 0;
    const auto& bytes = encoded.emplace_back(encode(entry));
    const std::size_t offset = place(end, bytes.size(), entry.image.size());
    writer.append(from_hex(entry.kernel_id));
    writer.append(Bytes(bytes).last(base::kDigestBytes));
    writer.append(offset);
    writer.append(bytes.size());
    end = offset + bytes.size();
  }
  writer.out().reserve(end);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    writer.fill_up_to(record_of(writer.out(), i).offset());
    writer.append(encoded[i]);
  }
  writer.overwrite(kSizeAt, base::to_little_endian<kNumberBytes>(end));
  writer.overwrite(kDigestAt, index_digest(writer.out()));
  return std::move(writer.out());
}

std::optional<Pack> Pack::open(std::span<const std::byte> bytes, std::shared_ptr<const void> keeper, std::string& why) {
  Pack pack(bytes, std::move(keeper));
  why = refuse_header(bytes);
  if (!why.empty()) return std::nullopt;
  std::size_t end = kPackHeaderBytes + index_of(bytes).size();
  for (std::size_t i = 0; i < pack.size() && why.empty(); ++i) {
    why = pack.refuse_kernel(i, end);
    if (!why.empty()) why = fmt::format("kernel {} {}", i, why);
  }
  if (why.empty() && end != bytes.size()) why = fmt::format("{} bytes follow the last kernel", bytes.size() - end);
  if (!why.empty()) return std::nullopt;
  return pack;
}

std::string Pack::refuse_kernel(std::size_t index, std::size_t& end) const {
  const Record record = record_of(bytes_, index);
  if (index > 0 && !std::ranges::lexicographical_compare(record_of(bytes_, index - 1).id(), record.id())) {
    return "is out of order";
  }
  const bool inside = record.offset() >= end && record.offset() <= bytes_.size() &&
                      record.size() <= bytes_.size() - record.offset() && record.size() >= base::kDigestBytes;
  if (!inside) return "lies outside of its place";
  const Bytes entry_bytes = bytes_.subspan(record.offset(), record.size());
  const auto digest = base::sha256(entry_bytes.first(entry_bytes.size() - base::kDigestBytes));
  if (!std::ranges::equal(digest, record.digest()) ||
      !std::ranges::equal(digest, entry_bytes.last(base::kDigestBytes))) {
    return "is damaged: its digest does not match";
  }
  std::string why;
  const auto entry = decode_verified(entry_bytes, keeper_, why);
  if (!entry) return "is no entry: " + why;
  if (!std::ranges::equal(from_hex(entry->kernel_id), record.id())) return "has another kernel's id";
  const Bytes gap = bytes_.subspan(end, record.offset() - end);
  const bool as_written = record.offset() == place(end, record.size(), entry->image.size()) && entry->compile_ms == 0 &&
                          std::ranges::all_of(gap, [](std::byte byte) { return byte == std::byte{}; });
  if (!as_written) return "is not as a pack has it";
  end = record.offset() + record.size();
  return {};
}

std::size_t Pack::size() const { return count_of(bytes_); }

std::size_t Pack::bytes_at(std::size_t index) const { return record_of(bytes_, index).size(); }

std::optional<Entry> Pack::read(std::size_t index, std::string& why) const {
  const Record record = record_of(bytes_, index);
  auto entry = decode_verified(bytes_.subspan(record.offset(), record.size()), keeper_, why);
  if (!entry) return entry;
  const auto image = entry->image.span();
  const bool misplaced = reinterpret_cast<std::uintptr_t>(image.data()) % kLeastAlignment != 0;
  if (misplaced) entry->image = std::vector<std::byte>(image.begin(), image.end());
  return entry;
}

Entry Pack::at(std::size_t index) const {
  std::string why;
  auto entry = read(index, why);
  if (!entry) base::fail(ErrorCode::io, "a pack was changed since it was verified: kernel {}: {}", index, why);
  return std::move(*entry);
}

std::optional<Entry> Pack::find_kernel(std::string_view kernel_id) const {
  if (!is_id(kernel_id)) return std::nullopt;
  const auto id = from_hex(kernel_id);
  const auto before = [&](std::size_t index) {
    return std::ranges::lexicographical_compare(record_of(bytes_, index).id(), id);
  };
  const auto indices = std::views::iota(std::size_t{0}, size());
  const auto found = std::ranges::partition_point(indices, before);
  if (found == indices.end() || !std::ranges::equal(record_of(bytes_, *found).id(), id)) return std::nullopt;
  std::string why;
  return read(*found, why);
}

}  // namespace kiln::cache
