#include "cache/entry.hpp"

#include "base/fail.hpp"
#include "base/little_endian.hpp"
#include "base/sha256.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace kiln::cache {
namespace {

// The first bytes catch a transfer as text and a mistaken type; the last is the format's version.
constexpr std::array<unsigned char, 8> kMagic = {'K', 'I', 'L', 'N', '\r', '\n', 0x1a, 1};
constexpr std::size_t kSizeBytes = 8;
constexpr std::size_t kHeaderBytes = kMagic.size() + kSizeBytes;
constexpr std::size_t kLengthBytes = 4;

/// How long a field may be.
struct Limit {
  std::size_t least;
  std::size_t most;
  [[nodiscard]] bool allows(std::size_t size) const { return size >= least && size <= most; }
};
constexpr Limit kIdLimit{64, 64};
constexpr Limit kTargetLimit{1, 64};
constexpr Limit kNameLimit{0, 256};
constexpr Limit kFunctionLimit{1, 256};
constexpr Limit kConfigLimit{0, std::size_t{1} << 20};
constexpr Limit kImageLimit{1, std::size_t{64} << 20};
constexpr Limit kSignatureLimit{0, 0};  // reserved

static_assert(kHeaderBytes + kConfigLimit.most + kImageLimit.most + 4096 < kMaxEntryBytes);

/// The format: every field in its order. One list for writing and reading, so that they can't disagree.
template <class Codec, class EntryType>
void visit_fields(Codec& codec, EntryType& entry) {
  codec.id("kernel_id", entry.kernel_id);
  codec.id("build_id", entry.build_id);
  codec.text("target", entry.target, kTargetLimit);
  codec.text("compiler", entry.compiler, kNameLimit);
  codec.text("name", entry.name, kNameLimit);
  codec.text("config", entry.config, kConfigLimit);
  codec.text("entry", entry.entry, kFunctionLimit);
  codec.number("registers", entry.registers);
  codec.number("spill_bytes", entry.spill_bytes);
  codec.number("smem_bytes", entry.smem_bytes);
  codec.number("compile_ms", entry.compile_ms);
  codec.image("image", entry.image, kImageLimit);
  codec.signature("signature");
}

// Of a double only what a duration can be, so that each value has one form.
bool is_duration(double value) { return std::isfinite(value) && !std::signbit(value); }

class Writer {
 public:
  explicit Writer(std::size_t bytes) {
    out_.reserve(bytes);
    append(std::as_bytes(std::span(kMagic)));
    unsigned_number<kSizeBytes>(0);  // known at the end
  }

  void id(std::string_view name, const std::string& value) {
    if (!is_id(value))
      base::fail(ErrorCode::invalid_argument, "cache entry: {} '{}' is not 64 hex digits", name, value);
    text(name, value, kIdLimit);
  }
  void text(std::string_view name, std::string_view value, Limit limit) {
    bytes(name, std::as_bytes(std::span(value)), limit);
  }
  void number(std::string_view name, int value) {
    if (value < 0) base::fail(ErrorCode::invalid_argument, "cache entry: {} is {}, less than 0", name, value);
    unsigned_number<kLengthBytes>(sizeof(std::uint32_t));
    unsigned_number<sizeof(std::uint32_t)>(static_cast<std::uint32_t>(value));
  }
  void number(std::string_view name, double value) {
    if (!is_duration(value)) {
      base::fail(ErrorCode::invalid_argument, "cache entry: {} is {}, not a duration", name, value);
    }
    unsigned_number<kLengthBytes>(sizeof(double));
    unsigned_number<sizeof(double)>(std::bit_cast<std::uint64_t>(value));
  }
  void image(std::string_view name, const Image& value, Limit limit) { bytes(name, value.span(), limit); }
  void signature(std::string_view name) { bytes(name, {}, kSignatureLimit); }

  std::vector<std::byte> finish() {
    const auto total = base::to_little_endian<kSizeBytes>(out_.size() + base::kDigestBytes);
    std::ranges::copy(total, out_.begin() + kMagic.size());
    append(base::sha256(out_));
    return std::move(out_);
  }

 private:
  void bytes(std::string_view name, std::span<const std::byte> value, Limit limit) {
    if (!limit.allows(value.size())) {
      base::fail(ErrorCode::invalid_argument, "cache entry: {} has {} bytes, from {} to {} are allowed", name,
                 value.size(), limit.least, limit.most);
    }
    unsigned_number<kLengthBytes>(value.size());
    append(value);
  }
  void append(std::span<const std::byte> value) { out_.insert(out_.end(), value.begin(), value.end()); }
  template <std::size_t kBytes>
  void unsigned_number(std::uint64_t value) {
    append(base::to_little_endian<kBytes>(value));
  }

  std::vector<std::byte> out_;
};

/// Reads fields until one is wrong; from there on does nothing and knows why.
class Reader {
 public:
  /// The image is copied, unless there is a keeper of the bytes it lies in.
  Reader(std::span<const std::byte> fields, const std::shared_ptr<const void>* keeper, std::string& why)
      : rest_(fields), keeper_(keeper), why_(why) {}

  void id(std::string_view name, std::string& value) {
    text(name, value, kIdLimit);
    if (ok() && !is_id(value)) refuse(name, "is not 64 hex digits");
  }
  void text(std::string_view name, std::string& value, Limit limit) {
    const auto field = take(name, limit);
    value.assign(reinterpret_cast<const char*>(field.data()), field.size());
  }
  void number(std::string_view name, int& value) {
    const std::uint64_t read = base::from_little_endian(take(name, {sizeof(std::uint32_t), sizeof(std::uint32_t)}));
    if (read > std::numeric_limits<std::int32_t>::max()) return refuse(name, "is out of range");
    value = static_cast<int>(read);
  }
  void number(std::string_view name, double& value) {
    const auto read = std::bit_cast<double>(base::from_little_endian(take(name, {sizeof(double), sizeof(double)})));
    if (!is_duration(read)) return refuse(name, "is not a duration");
    value = read;
  }
  void image(std::string_view name, Image& value, Limit limit) {
    const auto field = take(name, limit);
    value = keeper_ != nullptr ? Image(field, *keeper_) : Image(std::vector<std::byte>(field.begin(), field.end()));
  }
  void signature(std::string_view name) { take(name, kSignatureLimit); }

  /// Whether every field was right and nothing follows the last.
  bool finish() {
    if (ok() && !rest_.empty()) why_ = fmt::format("{} bytes follow the last field", rest_.size());
    return ok();
  }

 private:
  [[nodiscard]] bool ok() const { return why_.empty(); }
  void refuse(std::string_view name, std::string_view what) {
    if (ok()) why_ = fmt::format("field {} {}", name, what);
  }
  std::span<const std::byte> take(std::string_view name, Limit limit) {
    if (!ok()) return {};
    if (rest_.size() < kLengthBytes) return refuse(name, "is missing"), std::span<const std::byte>();
    const std::size_t size = base::from_little_endian(rest_.first(kLengthBytes));
    if (!limit.allows(size)) return refuse(name, "has a length that is not allowed"), std::span<const std::byte>();
    if (rest_.size() - kLengthBytes < size) return refuse(name, "is cut short"), std::span<const std::byte>();
    const auto field = rest_.subspan(kLengthBytes, size);
    rest_ = rest_.subspan(kLengthBytes + size);
    return field;
  }

  std::span<const std::byte> rest_;
  const std::shared_ptr<const void>* keeper_;
  std::string& why_;
};

/// Why these bytes are no entry of this format, as far as magic and size tell; else empty.
std::string refuse_envelope(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes + base::kDigestBytes) return fmt::format("{} bytes are too few", bytes.size());
  const auto magic = std::as_bytes(std::span(kMagic));
  if (!std::ranges::equal(bytes.first(magic.size() - 1), magic.first(magic.size() - 1)))
    return "not a kiln cache entry";
  const std::byte version = bytes[magic.size() - 1];
  if (version != magic.back()) {
    return fmt::format("format {}, this is format {}", std::to_integer<int>(version),
                       std::to_integer<int>(magic.back()));
  }
  const std::uint64_t size = base::from_little_endian(bytes.subspan(magic.size(), kSizeBytes));
  if (size != bytes.size()) return fmt::format("{} bytes where {} were written", bytes.size(), size);
  if (size > kMaxEntryBytes) return fmt::format("{} bytes, at most {} are allowed", size, kMaxEntryBytes);
  return {};
}

std::optional<Entry> read_fields(std::span<const std::byte> bytes, const std::shared_ptr<const void>* keeper,
                                 std::string& why) {
  Entry entry;
  Reader reader(bytes.subspan(kHeaderBytes, bytes.size() - kHeaderBytes - base::kDigestBytes), keeper, why);
  visit_fields(reader, entry);
  if (!reader.finish()) return std::nullopt;
  return entry;
}

}  // namespace

std::vector<std::byte> encode(const Entry& entry) {
  constexpr std::size_t kShortFields = 1024;  // a guess that saves growing: all but config and image
  Writer writer(kShortFields + entry.config.size() + entry.image.size());
  visit_fields(writer, entry);
  return writer.finish();
}

std::optional<Entry> decode(std::span<const std::byte> bytes, std::string& why) {
  why = refuse_envelope(bytes);
  if (!why.empty()) return std::nullopt;
  if (!std::ranges::equal(base::sha256(bytes.first(bytes.size() - base::kDigestBytes)),
                          bytes.last(base::kDigestBytes))) {
    why = "the digest does not match";
    return std::nullopt;
  }
  return read_fields(bytes, nullptr, why);
}

std::optional<Entry> decode_verified(std::span<const std::byte> bytes, const std::shared_ptr<const void>& keeper,
                                     std::string& why) {
  why = refuse_envelope(bytes);
  if (!why.empty()) return std::nullopt;
  return read_fields(bytes, &keeper, why);
}

std::size_t image_offset(std::size_t entry_bytes, std::size_t image_bytes) {
  return entry_bytes - base::kDigestBytes - kLengthBytes - image_bytes;  // the signature behind it is empty
}

}  // namespace kiln::cache
