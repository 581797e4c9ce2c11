#include "jit/loader_cache.hpp"

#include "base/files.hpp"
#include "jit/fake_loader_cache.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace kiln::jit {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::string& sample() {
  static const std::string text = test::fake_loader_cache({{"liba.so.1", "/lib/liba.so.1"},
                                                           {"libnvrtc.so.13", "/opt/cuda/lib/libnvrtc.so.13"},
                                                           {"libnvrtc.so.13", "/usr/lib/libnvrtc.so.13"},
                                                           {"libz.so", "relative/libz.so"}});
  return text;
}

TEST(LoaderCache, FindsEveryPathOfASoname) {
  EXPECT_THAT(find_in_loader_cache(sample(), "libnvrtc.so.13"),
              ElementsAre("/opt/cuda/lib/libnvrtc.so.13", "/usr/lib/libnvrtc.so.13"));
  EXPECT_THAT(find_in_loader_cache(sample(), "libnvrtc.so.1"), IsEmpty());
  EXPECT_THAT(find_in_loader_cache(sample(), "libz.so"), IsEmpty());
}

TEST(LoaderCache, StandsBehindAnOlderFormat) {
  EXPECT_THAT(find_in_loader_cache("ld.so-1.7.0" + std::string(37, '\0') + sample(), "liba.so.1"),
              ElementsAre("/lib/liba.so.1"));
}

TEST(LoaderCache, DamageIsNothingFound) {
  EXPECT_THAT(find_in_loader_cache("", "liba.so.1"), IsEmpty());
  EXPECT_THAT(find_in_loader_cache("glibc-ld.so.cache1.1", "liba.so.1"), IsEmpty());
  for (std::size_t size = 0; size < sample().size(); ++size) {
    const std::string cut = sample().substr(0, size);
    EXPECT_LE(find_in_loader_cache(cut, "libnvrtc.so.13").size(), 2U) << size;
  }
  std::mt19937 random(3);
  for (int round = 0; round < 5000; ++round) {
    std::string text = sample();
    for (int i = 0; i < 4; ++i) text[random() % text.size()] = static_cast<char>(random());
    EXPECT_LE(find_in_loader_cache(text, "libnvrtc.so.13").size(), 4U) << round;
  }
}

// No path is that long; a search for the end of each string to the end of a damaged cache would take for ever.
TEST(LoaderCache, StringsLongerThanAPathAreNone) {
  const std::string path = "/" + std::string(4094, 'p');
  EXPECT_THAT(find_in_loader_cache(test::fake_loader_cache({{"liba.so", path}}), "liba.so"), ElementsAre(path));
  EXPECT_THAT(find_in_loader_cache(test::fake_loader_cache({{"liba.so", path + "p"}}), "liba.so"), IsEmpty());
}

TEST(LoaderCache, ReadsTheOneOfThisSystem) {
  if (!std::filesystem::exists("/etc/ld.so.cache")) GTEST_SKIP() << "this system has no /etc/ld.so.cache";
  const auto found = find_in_loader_cache(base::read_file("/etc/ld.so.cache"), "libc.so.6");
  ASSERT_FALSE(found.empty());
  EXPECT_TRUE(std::filesystem::exists(found.front())) << found.front();
}

}  // namespace
}  // namespace kiln::jit
