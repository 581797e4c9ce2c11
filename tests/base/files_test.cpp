#include "base/files.hpp"

#include "support/expect_error.hpp"
#include "support/temp_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <thread>
#include <vector>

namespace kiln::base {
namespace {

using test::error_of;
using testing::HasSubstr;

class Files : public testing::Test {
 protected:
  [[nodiscard]] std::ptrdiff_t count() const {
    return std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator());
  }

  const test::TempFolder temp_;
  const std::filesystem::path& folder_ = temp_.path();
};

TEST_F(Files, ReadsWhatWasWritten) {
  const auto path = folder_ / "a";
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65536}, std::size_t{200'001}}) {
    std::string text(size, 'x');
    if (size > 0) text[size / 2] = '\0';
    write_file_atomic(path, text);
    EXPECT_EQ(read_file(path), text);
  }
  EXPECT_EQ(count(), 1) << "a temporary file was left";
}

TEST_F(Files, FailuresNameTheFileAndTheReason) {
  EXPECT_THAT(error_of(ErrorCode::io, [&] { read_file(folder_ / "absent"); }),
              testing::AllOf(HasSubstr("absent"), HasSubstr("No such file")));
  EXPECT_THAT(error_of(ErrorCode::io, [&] { read_file(folder_); }), HasSubstr("directory"));
  EXPECT_THAT(error_of(ErrorCode::io, [&] { write_file_atomic(folder_ / "no" / "a", "x"); }),
              HasSubstr("No such file"));
  write_file_atomic(folder_ / "big", std::string(100, 'x'));
  EXPECT_THAT(error_of(ErrorCode::io, [&] { read_file(folder_ / "big", 99); }), HasSubstr("larger than 99 bytes"));
}

TEST_F(Files, AFailedWriteLeavesNothingBehind) {
  std::filesystem::create_directory(folder_ / "taken");
  error_of(ErrorCode::io, [&] { write_file_atomic(folder_ / "taken", "x"); });
  EXPECT_EQ(count(), 1);
}

TEST_F(Files, AReaderNeverSeesAPart) {
  const auto path = folder_ / "a";
  const std::string first(100'000, 'a');
  const std::string second(50'000, 'b');
  write_file_atomic(path, first);
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < 2; ++i) {
      writers.emplace_back([&, i] {
        for (int round = 0; round < 50; ++round) write_file_atomic(path, (round + i) % 2 == 0 ? first : second);
      });
    }
    for (int round = 0; round < 200; ++round) {
      const std::string text = read_file(path);
      ASSERT_TRUE(text == first || text == second) << text.size();
    }
  }
  EXPECT_EQ(count(), 1);
}

}  // namespace
}  // namespace kiln::base
