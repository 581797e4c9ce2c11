#pragma once

#include "base/hash_parts.hpp"
#include "cache/image.hpp"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kiln::cache {

/// A compiled kernel and what is known of it. The cache knows nothing of attention: `name` and
/// `config` are words for people.
struct Entry {
  std::string kernel_id;  ///< 64 hex digits
  std::string build_id;   ///< 64 hex digits
  std::string target;     ///< "sm_90"
  std::string compiler;   ///< the compiler's identity
  std::string name;       ///< "forward_bf16_d128_causal_sm90"
  std::string config;     ///< the generated header, for `kiln cache ls` and `explain`
  std::string entry;      ///< the function to launch
  int registers = 0;
  int spill_bytes = 0;
  int smem_bytes = 0;  ///< dynamic
  double compile_ms = 0;
  Image image;

  bool operator==(const Entry&) const = default;
};

/// No encoded entry is larger: a file that is needs no reading.
inline constexpr std::size_t kMaxEntryBytes = std::size_t{66} << 20;

/// The bytes of docs/CACHE.md: magic, format, fields, image, digest over all of it. Error(invalid_argument)
/// naming the field and its limit for an entry that has no such form, e.g. one without an image.
std::vector<std::byte> encode(const Entry& entry);
/// Empty, with the reason in `why`, for anything that encode() did not write.
std::optional<Entry> decode(std::span<const std::byte> bytes, std::string& why);
/// The same without a look at the digest, for bytes that were verified once and lie where they can't change since. The
/// image is not copied: `keeper` keeps the bytes.
std::optional<Entry> decode_verified(std::span<const std::byte> bytes, const std::shared_ptr<const void>& keeper,
                                     std::string& why);
/// Where the image lies in the bytes of an encoded entry.
std::size_t image_offset(std::size_t entry_bytes, std::size_t image_bytes);

/// Whether `text` has the form of both ids: 64 hex digits, letters small.
bool is_id(std::string_view text);

/// What the source, options and target determine; known without any compiler. `source`: parts that determine its text.
std::string kernel_id(std::span<const base::HashPart> source, std::span<const std::string> options,
                      std::string_view target);
/// A kernel as one particular compiler builds it.
std::string build_id(std::string_view kernel_id, std::string_view compiler_identity);

}  // namespace kiln::cache
