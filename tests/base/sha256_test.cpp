#include "base/sha256.hpp"

#include <gtest/gtest.h>

#include <string>

namespace kiln::base {
namespace {

std::string hex_of(std::string_view text) { return to_hex(sha256(std::as_bytes(std::span(text)))); }

// FIPS 180-2, appendix B, and the empty string.
TEST(Sha256, KnownDigests) {
  EXPECT_EQ(hex_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex_of(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesGiveTheDigestOfTheWhole) {
  const std::string text = "The digest of pieces is the digest of the whole.";
  Sha256 hash;
  for (const char& c : text) hash.update(std::string_view(&c, 1));
  hash.update("");
  EXPECT_EQ(to_hex(hash.finish()), hex_of(text));
}

TEST(Sha256, HexKeepsLeadingZeros) {
  const std::array bytes = {std::byte{0x00}, std::byte{0x0f}, std::byte{0xa0}};
  EXPECT_EQ(to_hex(bytes), "000fa0");
}

}  // namespace
}  // namespace kiln::base
