#include "cache/pack.hpp"

#include "base/little_endian.hpp"
#include "base/sha256.hpp"
#include "cache/support.hpp"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace kiln::cache {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

// docs/CACHE.md, written down a second time.
constexpr std::size_t kDigestAt = 32;
constexpr std::size_t kHeader = 64;
constexpr std::size_t kRecord = 80;

std::vector<Entry> samples() { return {sample_entry('a'), sample_entry('2')}; }

Entry without_time(Entry entry) {
  entry.compile_ms = 0;
  return entry;
}

std::optional<Pack> open_pack(std::span<const std::byte> bytes) {
  std::string why;
  auto pack = Pack::open(bytes, nullptr, why);
  EXPECT_EQ(pack.has_value(), why.empty()) << why;
  return pack;
}

std::string refusal_of(std::span<const std::byte> bytes) {
  std::string why;
  EXPECT_FALSE(Pack::open(bytes, nullptr, why));
  return why;
}

void put(std::vector<std::byte>& bytes, std::size_t at, std::uint64_t value) {
  std::ranges::copy(base::to_little_endian<8>(value), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

std::uint64_t get(const std::vector<std::byte>& bytes, std::size_t at) {
  return base::from_little_endian(std::span(bytes).subspan(at, 8));
}

/// Makes size and digest of the index right again, so that what lies behind them is tried too.
void reseal_index(std::vector<std::byte>& bytes) {
  put(bytes, 8, bytes.size());
  base::Sha256 hash;
  hash.update(std::span(bytes).first(kDigestAt));
  const auto digest = hash.update(std::span(bytes).subspan(kHeader, get(bytes, 16) * kRecord)).finish();
  std::ranges::copy(digest, bytes.begin() + kDigestAt);
}

// Computed from docs/CACHE.md by another program. If this changes, packs of users no longer open: that takes a new
// format version.
TEST(Pack, HasTheGoldenBytes) {
  const auto bytes = encode_pack(samples());
  EXPECT_EQ(bytes.size(), 1488U);
  EXPECT_EQ(base::to_hex(base::sha256(bytes)), "b06aa5c92666f5931bf355d187974002e206c01445d1fcc2a2960a83f97d423e");
}

TEST(Pack, IsTheSameHoweverItsKernelsWereGivenAndCompiled) {
  auto entries = samples();
  const auto bytes = encode_pack(entries);
  std::ranges::reverse(entries);
  for (Entry& entry : entries) entry.compile_ms += 100;
  EXPECT_EQ(encode_pack(entries), bytes);
}

TEST(Pack, FindsWhatWasPutIn) {
  for (const std::size_t image_bytes : {1U, 63U, 64U, 65U, 70'000U}) {
    std::vector<Entry> entries;
    for (const char digit : std::string("0123456789abcdef")) entries.push_back(sample_entry(digit, image_bytes));
    const auto bytes = encode_pack(entries);
    const auto pack = open_pack(bytes);
    ASSERT_TRUE(pack);
    ASSERT_EQ(pack->size(), entries.size());
    for (std::size_t i = 0; i < entries.size(); ++i) {
      EXPECT_EQ(pack->at(i), without_time(entries[i]));
      EXPECT_EQ(pack->bytes_at(i), encode(entries[i]).size());
      EXPECT_EQ(pack->find_kernel(entries[i].kernel_id), without_time(entries[i]));
      const std::size_t place = static_cast<std::size_t>(pack->at(i).image.data() - bytes.data());
      EXPECT_EQ(place % 64, 0U) << "read in place, where it is aligned";
    }
    for (const char* none : {"", "a", "AA"}) EXPECT_EQ(pack->find_kernel(none), std::nullopt);
    for (const char digit : {'0', '7', 'f'}) {
      EXPECT_EQ(pack->find_kernel(std::string(63, digit) + (digit == 'f' ? 'e' : 'f')), std::nullopt);
    }
  }
}

TEST(Pack, MayBeEmpty) {
  const auto bytes = encode_pack({});
  EXPECT_EQ(bytes.size(), kHeader);
  const auto pack = open_pack(bytes);
  ASSERT_TRUE(pack);
  EXPECT_EQ(pack->size(), 0U);
  EXPECT_EQ(pack->find_kernel(std::string(64, 'a')), std::nullopt);
}

TEST(Pack, HoldsAKernelOnce) {
  EXPECT_THAT(test::error_of(ErrorCode::invalid_argument, [] { encode_pack({sample_entry('a'), sample_entry('a')}); }),
              HasSubstr("is there twice"));
}

TEST(Pack, WhereverItLiesItsImagesAreAligned) {
  const auto bytes = encode_pack(samples());
  std::vector<std::byte> shifted(bytes.size() + 8);
  for (std::size_t shift = 0; shift < 8; ++shift) {
    std::ranges::copy(bytes, shifted.begin() + static_cast<std::ptrdiff_t>(shift));
    const auto pack = open_pack(std::span(shifted).subspan(shift, bytes.size()));
    ASSERT_TRUE(pack);
    const Image image = pack->at(0).image;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(image.data()) % 8, 0U);
    EXPECT_EQ(image, sample_entry('2').image);
  }
}

TEST(Pack, ImagesKeepItsBytes) {
  auto owned = std::make_shared<const std::vector<std::byte>>(encode_pack(samples()));
  const std::weak_ptr<const void> watched = owned;
  const std::span<const std::byte> bytes = *owned;
  std::string why;
  auto pack = Pack::open(bytes, std::move(owned), why);
  ASSERT_TRUE(pack) << why;
  Image image = pack->at(0).image;
  pack.reset();
  EXPECT_FALSE(watched.expired());
  EXPECT_EQ(image, sample_entry('2').image);
  image = {};
  EXPECT_TRUE(watched.expired());
}

TEST(Pack, EveryFlippedByteIsNoticed) {
  auto bytes = encode_pack(samples());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const auto bit : {std::byte{1}, std::byte{0x80}}) {
      bytes[i] ^= bit;
      EXPECT_FALSE(refusal_of(bytes).empty()) << i;
      bytes[i] ^= bit;
    }
  }
  EXPECT_TRUE(open_pack(bytes));
}

TEST(Pack, EveryLengthButItsOwnIsNoticed) {
  auto bytes = encode_pack(samples());
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(refusal_of(std::span(bytes).first(size)).empty());
  bytes.push_back({});
  EXPECT_THAT(refusal_of(bytes), HasSubstr("were written"));
  reseal_index(bytes);
  EXPECT_THAT(refusal_of(bytes), HasSubstr("1 bytes follow the last kernel"));
}

struct Mistake {
  const char* name;
  void (*make)(std::vector<std::byte>& bytes);
  const char* reason;
};

class PackMistake : public testing::TestWithParam<Mistake> {};

TEST_P(PackMistake, IsNoticedThoughTheIndexIsSealed) {
  auto bytes = encode_pack(samples());
  GetParam().make(bytes);
  reseal_index(bytes);
  EXPECT_THAT(refusal_of(bytes), HasSubstr(GetParam().reason));
}

constexpr std::size_t kOffsetAt = kHeader + 64;
constexpr std::size_t kSizeAt = kOffsetAt + 8;

using Bytes = std::vector<std::byte>;
INSTANTIATE_TEST_SUITE_P(
    , PackMistake,
    testing::Values(
        Mistake{"foreign", [](Bytes& b) { b[0] = std::byte{'X'}; }, "not a pack"},
        Mistake{"an_entry", [](Bytes& b) { std::memcpy(b.data(), "KILN", 4); }, "not a pack"},
        Mistake{"newer", [](Bytes& b) { b[7] = std::byte{2}; }, "format 2, this is format 1"},
        Mistake{"signed", [](Bytes& b) { put(b, 24, 64); }, "signature"},
        Mistake{"swapped",
                [](Bytes& b) {
                  std::swap_ranges(b.begin() + kHeader, b.begin() + kHeader + kRecord, b.begin() + kHeader + kRecord);
                },
                "kernel 0 is not as a pack has it"},
        Mistake{"same_id", [](Bytes& b) { std::copy_n(b.begin() + kHeader, 32, b.begin() + kHeader + kRecord); },
                "kernel 1 is out of order"},
        Mistake{"other_id", [](Bytes& b) { b[kHeader] = std::byte{1}; }, "kernel 0 has another kernel's id"},
        Mistake{"other_digest", [](Bytes& b) { b[kHeader + 32] ^= std::byte{1}; }, "its digest does not match"},
        Mistake{"in_the_index", [](Bytes& b) { put(b, kOffsetAt, 0); }, "kernel 0 lies outside of its place"},
        Mistake{"behind_the_end", [](Bytes& b) { put(b, kOffsetAt, b.size() + 1); }, "outside"},
        Mistake{"far", [](Bytes& b) { put(b, kOffsetAt, ~std::uint64_t{0}); }, "outside"},
        Mistake{"long", [](Bytes& b) { put(b, kSizeAt, b.size()); }, "outside"},
        Mistake{"endless", [](Bytes& b) { put(b, kSizeAt, ~std::uint64_t{0}); }, "outside"},
        Mistake{"empty", [](Bytes& b) { put(b, kSizeAt, 0); }, "outside"},
        Mistake{"a_digest", [](Bytes& b) { put(b, kSizeAt, 32); }, "its digest does not match"},
        Mistake{"gap", [](Bytes& b) { b[get(b, kOffsetAt) - 1] = std::byte{1}; }, "kernel 0 is not as a pack has it"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Pack, MoreKernelsThanFitAreRefusedBeforeTheyAreLookedAt) {
  auto bytes = encode_pack(samples());
  for (const std::uint64_t count : {std::uint64_t{1000}, ~std::uint64_t{0}, std::uint64_t{1} << 60U}) {
    put(bytes, 16, count);
    EXPECT_THAT(refusal_of(bytes), HasSubstr("cut short"));
  }
}

TEST(Pack, AnEntryWithATimeIsRefused) {
  // A whole entry of one kernel, sealed in itself, but not in the one form that a pack has.
  auto entry = sample_entry('a');
  entry.compile_ms = 0;
  auto bytes = encode_pack({entry});
  entry.compile_ms = 1;
  const auto timed = encode(entry);
  const auto offset = static_cast<std::ptrdiff_t>(get(bytes, kOffsetAt));
  std::ranges::copy(timed, bytes.begin() + offset);
  std::copy_n(timed.end() - 32, 32, bytes.begin() + kHeader + 32);
  reseal_index(bytes);
  EXPECT_EQ(refusal_of(bytes), "kernel 0 is not as a pack has it");
}

TEST(Pack, NoiseIsNoPack) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::byte> bytes(random() % 400);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    EXPECT_THAT(refusal_of(bytes), AnyOf(HasSubstr("not a pack"), HasSubstr("too few")));
  }
}

}  // namespace
}  // namespace kiln::cache
