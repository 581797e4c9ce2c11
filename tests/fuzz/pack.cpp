// Packs of kernels: whatever opens is what encode_pack() makes of the kernels in it, and finds each of them.
#include "cache/pack.hpp"

#include "base/little_endian.hpp"
#include "base/sha256.hpp"
#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <span>

namespace {

using namespace kiln;

constexpr std::size_t kSizeAt = 8;  // docs/CACHE.md
constexpr std::size_t kCountAt = 16;
constexpr std::size_t kDigestAt = 32;
constexpr std::size_t kHeaderBytes = 64;
constexpr std::size_t kRecordBytes = 80;
constexpr std::size_t kDigestBytes = 32;

using Bytes = std::vector<std::byte>;

void check(std::span<const std::byte> bytes) {
  std::string why;
  const auto pack = cache::Pack::open(bytes, nullptr, why);
  fuzz::require(pack.has_value() == why.empty(), "there is a pack or a reason why not");
  if (!pack) return;
  std::vector<cache::Entry> entries;
  for (std::size_t i = 0; i < pack->size(); ++i) {
    entries.push_back(pack->at(i));
    fuzz::require(pack->find_kernel(entries.back().kernel_id) == entries.back(), "each kernel is found");
  }
  fuzz::require(std::ranges::equal(cache::encode_pack(entries), bytes), "a pack has one form");
}

std::uint64_t number(const Bytes& bytes, std::size_t at) {
  return base::from_little_endian(std::span(bytes).subspan(at, 8));
}

void put(Bytes& bytes, std::size_t at, std::span<const std::byte> value) {
  std::ranges::copy(value, bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

/// With the sizes and digests that the rest asks for, which chance would never hit: those of entries, then the index's.
Bytes sealed(std::span<const std::byte> input) {
  Bytes bytes(input.begin(), input.end());
  put(bytes, kSizeAt, base::to_little_endian<8>(bytes.size()));
  const auto count = std::min<std::uint64_t>(number(bytes, kCountAt) % 4, (bytes.size() - kHeaderBytes) / kRecordBytes);
  put(bytes, kCountAt, base::to_little_endian<8>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::size_t record = kHeaderBytes + i * kRecordBytes;
    const std::uint64_t offset = number(bytes, record + 2 * kDigestBytes);
    const std::uint64_t size = number(bytes, record + 2 * kDigestBytes + 8);
    if (offset > bytes.size() || size > bytes.size() - offset || size < kDigestBytes) continue;
    const auto digest = base::sha256(std::span(bytes).subspan(offset, size - kDigestBytes));
    put(bytes, offset + size - kDigestBytes, digest);
    put(bytes, record + kDigestBytes, digest);
  }
  const auto index = std::span(bytes).subspan(kHeaderBytes, count * kRecordBytes);
  put(bytes, kDigestAt, base::Sha256().update(std::span(bytes).first(kDigestAt)).update(index).finish());
  return bytes;
}

}  // namespace

std::vector<std::string> fuzz::seeds() {
  std::vector<std::string> texts;
  std::vector<cache::Entry> entries;
  for (const char digit : std::string("04f")) {
    const auto bytes = cache::encode_pack(entries);
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    entries.push_back({.kernel_id = std::string(64, digit),
                       .build_id = std::string(64, digit),
                       .target = "sm_90",
                       .compiler = "",
                       .name = "forward_bf16_d128_causal_sm90",
                       .config = "",
                       .entry = "kiln_forward",
                       .image = Bytes(20)});
  }
  return texts;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  check(bytes);
  if (size >= kHeaderBytes) check(sealed(bytes));
  return 0;
}
