#include "cache/entry.hpp"

#include "base/sha256.hpp"
#include "cache/support.hpp"

#include <kiln/error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <random>

namespace kiln::cache {
namespace {

using testing::HasSubstr;

std::optional<Entry> decode(std::span<const std::byte> bytes) {
  std::string why;
  auto entry = cache::decode(bytes, why);
  EXPECT_EQ(entry.has_value(), why.empty()) << why;
  return entry;
}

std::string reason(std::span<const std::byte> bytes) {
  std::string why;
  EXPECT_FALSE(cache::decode(bytes, why));
  return why;
}

/// Makes the digest right again, so that what lies behind it is tried too.
void reseal(std::vector<std::byte>& bytes) {
  constexpr std::size_t kDigest = 32;
  for (std::size_t i = 0; i < 8; ++i) bytes[8 + i] = static_cast<std::byte>(bytes.size() >> (8 * i));
  const auto digest = base::sha256(std::span(bytes).first(bytes.size() - kDigest));
  std::ranges::copy(digest, bytes.end() - kDigest);
}

Entry golden_entry() {
  Entry entry = sample_entry();
  entry.build_id = std::string(64, 'b');
  entry.image =
      std::vector{std::byte{0x7f}, std::byte{0x45}, std::byte{0x4c}, std::byte{0x46}, std::byte{0}, std::byte{0xff}};
  return entry;
}

// Computed by hand from docs/CACHE.md. If this changes, entries of users no longer decode: that takes a new
// format version.
constexpr std::string_view kGolden =
    "4b494c4e0d0a1a0125010000000000004000000061616161616161616161616161616161616161616161616161616161"
    "616161616161616161616161616161616161616161616161616161616161616161616161400000006262626262626262"
    "626262626262626262626262626262626262626262626262626262626262626262626262626262626262626262626262"
    "626262626262626205000000736d5f3930040000003466316307000000666f72776172640b000000696e742078203d20"
    "313b0a0c0000006b696c6e5f666f727761726404000000a8000000040000000000000004000000000001000800000000"
    "00000000248340060000007f454c4600ff0000000076d4fdf16177d3708dcbe54890607f4b1db04bc7ad161908d5c8c3"
    "8011dd40db";

TEST(Entry, HasTheGoldenBytes) { EXPECT_EQ(base::to_hex(encode(golden_entry())), kGolden); }

TEST(Entry, RoundTrips) {
  for (const std::size_t image_bytes : {1U, 300U, 65536U, 3000001U}) {
    const Entry entry = sample_entry('7', image_bytes);
    EXPECT_EQ(decode(encode(entry)), entry) << image_bytes;
  }
}

TEST(Entry, RoundTripsExtremeValues) {
  Entry entry = golden_entry();
  entry.compiler = entry.name = entry.config = {};
  entry.registers = 0;
  entry.spill_bytes = entry.smem_bytes = std::numeric_limits<int>::max();
  entry.compile_ms = 0;
  EXPECT_EQ(decode(encode(entry)), entry);
  entry.name = std::string("\0\n\xff", 3);
  entry.compiler = std::string(256, 'x');
  entry.config = std::string(std::size_t{1} << 20, '\n');
  entry.compile_ms = std::numeric_limits<double>::max();
  EXPECT_EQ(decode(encode(entry)), entry);
}

TEST(Entry, RefusesEveryFlippedByte) {
  const std::vector<std::byte> good = encode(golden_entry());
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const unsigned mask : {1U, 0x80U, 0xffU}) {
      std::vector<std::byte> bad = good;
      bad[i] ^= static_cast<std::byte>(mask);
      EXPECT_FALSE(decode(bad)) << "byte " << i << " mask " << mask;
    }
  }
}

TEST(Entry, RefusesEveryTruncation) {
  const std::vector<std::byte> good = encode(golden_entry());
  for (std::size_t size = 0; size < good.size(); ++size) {
    std::vector<std::byte> bad(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(decode(bad)) << size;
    if (size < 48) continue;
    reseal(bad);
    EXPECT_FALSE(decode(bad)) << size << " with size and digest made to match";
  }
}

TEST(Entry, SaysWhatIsWrong) {
  const std::vector<std::byte> good = encode(golden_entry());
  EXPECT_THAT(reason({}), HasSubstr("0 bytes are too few"));
  EXPECT_THAT(reason(std::vector<std::byte>(293)), HasSubstr("not a kiln cache entry"));
  EXPECT_THAT(reason(std::span(good).first(200)), HasSubstr("200 bytes where 293 were written"));
  std::vector<std::byte> other = good;
  other[7] = std::byte{2};
  EXPECT_THAT(reason(other), HasSubstr("format 2, this is format 1"));
  other = good;
  other[250] ^= std::byte{1};
  EXPECT_THAT(reason(other), HasSubstr("digest"));
  other = good;
  other.insert(other.end() - 32, std::byte{0});
  reseal(other);
  EXPECT_THAT(reason(other), HasSubstr("1 bytes follow the last field"));
  other = good;
  other[20] = std::byte{'A'};
  reseal(other);
  EXPECT_THAT(reason(other), HasSubstr("field kernel_id is not 64 hex digits"));
  other = good;
  other[257] = std::byte{1};  // the signature's length; the field then eats into the digest
  reseal(other);
  EXPECT_THAT(reason(other), HasSubstr("field signature"));
}

TEST(Entry, RefusesTrailingBytes) {
  std::vector<std::byte> bytes = encode(golden_entry());
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode(bytes));
}

// Whatever decodes is what encode() wrote; nothing else may crash, overrun or allocate without bound.
TEST(Entry, DecodesOnlyItsOwnBytesUnderRandomDamage) {
  std::mt19937 random(20240607);
  const std::vector<std::byte> good = encode(golden_entry());
  const auto below = [&](std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random);
  };
  int decoded = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> bytes = good;
    for (std::size_t edits = 1 + below(3); edits > 0; --edits) {
      const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(16 + below(bytes.size() - 48));
      switch (below(4)) {
        case 0:
          *at = static_cast<std::byte>(below(256));
          break;
        case 1:
          *at = below(2) == 0 ? std::byte{0} : std::byte{0xff};
          break;
        case 2:
          bytes.erase(at);
          break;
        default:
          bytes.insert(at, static_cast<std::byte>(below(256)));
      }
    }
    reseal(bytes);
    if (const auto entry = decode(bytes)) {
      ++decoded;
      ASSERT_EQ(encode(*entry), bytes);
    }
  }
  EXPECT_GT(decoded, 100);  // else the rounds tried nothing but lengths
}

struct BadField {
  const char* name;
  std::function<void(Entry&)> spoil;
};
void PrintTo(const BadField& field, std::ostream* out) { *out << field.name; }

class EntryField : public testing::TestWithParam<BadField> {};

TEST_P(EntryField, IsRefusedByNameBeforeItIsWritten) {
  Entry entry = golden_entry();
  GetParam().spoil(entry);
  try {
    encode(entry);
    FAIL() << "encoded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_THAT(error.what(), HasSubstr(GetParam().name));
  }
}

INSTANTIATE_TEST_SUITE_P(
    OutOfLimits, EntryField,
    testing::Values(BadField{"kernel_id", [](Entry& e) { e.kernel_id.pop_back(); }},
                    BadField{"build_id", [](Entry& e) { e.build_id[5] = 'B'; }},
                    BadField{"target", [](Entry& e) { e.target.clear(); }},
                    BadField{"compiler", [](Entry& e) { e.compiler = std::string(257, 'x'); }},
                    BadField{"name", [](Entry& e) { e.name = std::string(257, 'x'); }},
                    BadField{"config", [](Entry& e) { e.config = std::string((1U << 20) + 1, 'x'); }},
                    BadField{"entry", [](Entry& e) { e.entry.clear(); }},
                    BadField{"registers", [](Entry& e) { e.registers = -1; }},
                    BadField{"spill_bytes", [](Entry& e) { e.spill_bytes = -1; }},
                    BadField{"smem_bytes", [](Entry& e) { e.smem_bytes = -1; }},
                    BadField{"compile_ms", [](Entry& e) { e.compile_ms = std::numeric_limits<double>::infinity(); }},
                    BadField{"image", [](Entry& e) { e.image = {}; }},
                    BadField{"image", [](Entry& e) { e.image = std::vector<std::byte>((64U << 20) + 1); }}),
    [](const auto& test) { return std::to_string(test.index) + "_" + test.param.name; });

}  // namespace
}  // namespace kiln::cache
