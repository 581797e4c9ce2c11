#include "base/embedded.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace kiln::embedded {

std::span<const EmbeddedFile> embedded_sample();
std::span<const EmbeddedFile> embedded_nothing();

namespace {

TEST(Embed, NamesAreRelativeAndSorted) {
  const auto files = embedded_sample();
  ASSERT_EQ(files.size(), 3U);
  EXPECT_EQ(files[0].name, "empty.txt");
  EXPECT_EQ(files[1].name, "nasty.txt");
  EXPECT_EQ(files[2].name, "sub/plain.txt");
}

TEST(Embed, TextsAreTheFilesByteForByte) {
  for (const auto& file : embedded_sample()) {
    std::ifstream stream(std::string(KILN_EMBED_DATA) + "/" + std::string(file.name), std::ios::binary);
    ASSERT_TRUE(stream) << file.name;
    std::ostringstream text;
    text << stream.rdbuf();
    EXPECT_EQ(file.text, text.str()) << file.name;
  }
}

TEST(Embed, NastyTextIsNotEmpty) { EXPECT_NE(embedded_sample()[1].text.find(';'), std::string_view::npos); }

TEST(Embed, NoFilesGiveAnEmptyTable) { EXPECT_TRUE(embedded_nothing().empty()); }

}  // namespace
}  // namespace kiln::embedded
