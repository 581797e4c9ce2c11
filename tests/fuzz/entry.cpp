// Cache entries: whatever decodes encodes to the same bytes.
#include "cache/entry.hpp"

#include "base/sha256.hpp"
#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <span>

namespace {

using namespace kiln;

constexpr std::size_t kSizeAt = 8;  // docs/CACHE.md
constexpr std::size_t kFieldsAt = 16;
constexpr std::size_t kDigestBytes = 32;

void check(std::span<const std::byte> bytes) {
  std::string why;
  const auto entry = cache::decode(bytes, why);
  fuzz::require(entry.has_value() == why.empty(), "there is an entry or a reason why not");
  if (!entry) return;
  fuzz::require(std::ranges::equal(cache::encode(*entry), bytes), "an entry has one form");
}

/// With the size and digest that the fields ask for, which chance would never hit.
std::vector<std::byte> sealed(std::span<const std::byte> bytes) {
  std::vector<std::byte> out(bytes.begin(), bytes.end() - kDigestBytes);
  for (std::size_t i = 0; i < 8; ++i) out[kSizeAt + i] = static_cast<std::byte>(bytes.size() >> (8 * i));
  const auto digest = base::sha256(out);
  out.insert(out.end(), digest.begin(), digest.end());
  return out;
}

}  // namespace

std::vector<std::string> fuzz::seeds() {
  std::vector<std::string> texts;
  const std::string id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  cache::Entry entry{.kernel_id = id,
                     .build_id = id,
                     .target = "sm_90",
                     .compiler = "",
                     .name = "",
                     .config = "",
                     .entry = "kiln_forward",
                     .image = std::vector{std::byte{1}}};
  for (int i = 0; i < 2; ++i) {
    const auto bytes = cache::encode(entry);
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    entry.compiler = id.substr(0, 40);
    entry.name = "forward_bf16_d128_causal_sm90";
    entry.config = "inline constexpr int kHeadDim = 128;\n";
    entry.registers = 255;
    entry.compile_ms = 812.5;
    entry.image = std::vector<std::byte>(200);
  }
  return texts;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  check(bytes);
  if (size >= kFieldsAt + kDigestBytes) check(sealed(bytes));
  return 0;
}
