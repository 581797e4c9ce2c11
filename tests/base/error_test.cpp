#include "base/fail.hpp"
#include "support/expect_error.hpp"

namespace kiln {
namespace {

TEST(Error, CodesHaveTheNamesOfTheHeader) {
  EXPECT_STREQ(to_string(ErrorCode::invalid_argument), "invalid_argument");
  EXPECT_STREQ(to_string(ErrorCode::unsupported), "unsupported");
  EXPECT_STREQ(to_string(ErrorCode::missing_kernel), "missing_kernel");
  EXPECT_STREQ(to_string(ErrorCode::capturing), "capturing");
  EXPECT_STREQ(to_string(ErrorCode::compile), "compile");
  EXPECT_STREQ(to_string(ErrorCode::cuda), "cuda");
  EXPECT_STREQ(to_string(ErrorCode::io), "io");
  EXPECT_STREQ(to_string(ErrorCode::cancelled), "cancelled");
}

TEST(Error, FailFormats) {
  const auto work = [] { base::fail(ErrorCode::unsupported, "head_dim {} is above {}", 300, 256); };
  EXPECT_EQ(test::error_of(ErrorCode::unsupported, work), "head_dim 300 is above 256");
}

}  // namespace
}  // namespace kiln
