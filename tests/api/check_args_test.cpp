#include "api/check_args.hpp"

#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>

namespace kiln::api {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;

void* pointer(std::uintptr_t address) { return reinterpret_cast<void*>(address); }  // NOLINT(performance-no-int-to-ptr)

ForwardArgs good_forward() {
  const auto q = Strides::bshd(100, 8, 128);
  const auto kv = Strides::bshd(200, 2, 128);
  return {.q = {pointer(0x1000), q},
          .k = {pointer(0x2000), kv},
          .v = {pointer(0x3000), kv},
          .out = {pointer(0x4000), q},
          .batch = 2,
          .len_q = 100,
          .len_k = 200,
          .heads_q = 8,
          .heads_kv = 2};
}

DecodeArgs good_decode() {
  const auto cache = Strides::bshd(200, 2, 128);
  const Strides q{.batch = std::int64_t{8} * 128, .row = 0, .head = 128};
  return {.q = {pointer(0x1000), q},
          .k_cache = {pointer(0x2000), cache},
          .v_cache = {pointer(0x3000), cache},
          .out = {pointer(0x4000), q},
          .lengths = static_cast<const std::int32_t*>(pointer(0x5004)),
          .batch = 2,
          .max_len_k = 200,
          .heads_q = 8,
          .heads_kv = 2};
}

struct Misuse {
  const char* name;
  std::function<void(ForwardArgs&)> change;
  std::string value;  // what the message must name
  std::string limit;
};

class ForwardMisuse : public testing::TestWithParam<Misuse> {};

TEST_P(ForwardMisuse, NamesTheValueAndTheLimit) {
  auto args = good_forward();
  check({}, args);
  GetParam().change(args);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check({}, args); }),
              AllOf(HasSubstr(GetParam().value), HasSubstr(GetParam().limit)));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, ForwardMisuse,
    testing::Values(
        Misuse{"NullQ", [](auto& a) { a.q.data = nullptr; }, "q is null", ""},
        Misuse{"NullK", [](auto& a) { a.k.data = nullptr; }, "k is null", ""},
        Misuse{"NullV", [](auto& a) { a.v.data = nullptr; }, "v is null", ""},
        Misuse{"NullOut", [](auto& a) { a.out.data = nullptr; }, "out is null", ""},
        Misuse{"MisalignedK", [](auto& a) { a.k.data = pointer(0x2008); }, "k is 0x2008", "16 bytes"},
        Misuse{"MisalignedLse", [](auto& a) { a.lse = static_cast<float*>(pointer(0x2002)); }, "lse is 0x2002", "4"},
        Misuse{"StrideNotSixteenBytes", [](auto& a) { a.v.strides.row = 129; }, "v.strides.row is 129", "16 bytes"},
        Misuse{"NegativeStride", [](auto& a) { a.q.strides.head = -128; }, "q.strides.head is -128", "0 or more"},
        Misuse{"HugeStride", [](auto& a) { a.k.strides.batch = std::int64_t{1} << 39; }, "k.strides.batch", "2^40"},
        Misuse{"OutputThatRepeats", [](auto& a) { a.out.strides.batch = 0; }, "out.strides.batch is 0", "written"},
        Misuse{"NegativeBatch", [](auto& a) { a.batch = -1; }, "batch is -1", "0"},
        Misuse{"NegativeLength", [](auto& a) { a.len_k = -5; }, "len_k is -5", "0"},
        Misuse{"HugeLength", [](auto& a) { a.len_q = std::numeric_limits<int>::max(); }, "len_q is 2147483647",
               "1073741824"},
        Misuse{"NoHeads", [](auto& a) { a.heads_q = 0; }, "heads_q is 0", "1"},
        Misuse{"HeadsDontDivide", [](auto& a) { a.heads_q = 7; }, "heads_q 7", "heads_kv 2"},
        Misuse{"WindowWithoutOne", [](auto& a) { a.window_left = 3; }, "window_left is 3", "Window::sliding"},
        Misuse{"WindowBelowOpen", [](auto& a) { a.window_right = -2; }, "window_right is -2", "-1"},
        Misuse{"ScaleNotANumber", [](auto& a) { a.scale = std::nanf(""); }, "scale", "finite"},
        Misuse{"TooManyBlocks", [](auto& a) { a.batch = 1 << 30; }, "blocks", "2147483648"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(ForwardArguments, AllowWhatTheContractAllows) {
  auto args = good_forward();
  args.k.strides.batch = 0;  // broadcast
  args.q.data = pointer(0x1010);
  check({}, args);
  args = good_forward();
  args.batch = 1;
  args.q.strides.batch = -17;  // of a dimension of size 1: never used
  args.out.strides.batch = 3;
  check({}, args);
  args = good_forward();
  args.len_k = 0;
  args.k.data = nullptr;
  args.v.data = nullptr;
  check({}, args);
  args.batch = 0;
  args.q.data = nullptr;
  args.out.data = nullptr;
  check({}, args);
  args = {.batch = 3, .len_q = 0, .len_k = 7, .heads_q = 4, .heads_kv = 2};
  check({}, args);
  args = good_forward();
  args.window_left = 3;
  args.window_right = -1;
  check({.window = Window::sliding}, args);
}

struct DecodeMisuse {
  const char* name;
  std::function<void(DecodeArgs&)> change;
  std::string value;
  std::string limit;
};

class DecodeMisuses : public testing::TestWithParam<DecodeMisuse> {};

TEST_P(DecodeMisuses, NameTheValueAndTheLimit) {
  auto args = good_decode();
  check({}, args);
  GetParam().change(args);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check({}, args); }),
              AllOf(HasSubstr(GetParam().value), HasSubstr(GetParam().limit)));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, DecodeMisuses,
    testing::Values(
        DecodeMisuse{"NullCache", [](auto& a) { a.k_cache.data = nullptr; }, "k_cache is null", ""},
        DecodeMisuse{"MisalignedLengths",
                     [](auto& a) { a.lengths = static_cast<const std::int32_t*>(pointer(0x5002)); },
                     "lengths is 0x5002", "4"},
        DecodeMisuse{"NegativeMaxLength", [](auto& a) { a.max_len_k = -1; }, "max_len_k is -1", "0"},
        DecodeMisuse{"NegativeSplits", [](auto& a) { a.num_splits = -1; }, "num_splits is -1", "0"},
        DecodeMisuse{"TooManySplits", [](auto& a) { a.num_splits = 5000; }, "num_splits is 5000", "4096"},
        DecodeMisuse{"SplitsOfTooManySequences",
                     [](auto& a) {
                       a.batch = 40000;
                       a.num_splits = 2;
                     },
                     "num_splits is 2", "65536"},
        DecodeMisuse{"OutputThatRepeats", [](auto& a) { a.out.strides.head = 0; }, "out.strides.head is 0", "written"},
        DecodeMisuse{"WindowWithoutOne", [](auto& a) { a.window_left = 0; }, "window_left is 0", "Window::sliding"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(Workspace, IsCheckedOnlyWhereItIsNeeded) {
  auto args = good_decode();
  check_workspace(args, 0);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check_workspace(args, 4096); }),
              AllOf(HasSubstr("workspace_bytes is 0"), HasSubstr("4096")));
  args.workspace_bytes = 4096;
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check_workspace(args, 4096); }),
              HasSubstr("workspace is null"));
  args.workspace = pointer(0x6004);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check_workspace(args, 4096); }), HasSubstr("16 bytes"));
  args.workspace = pointer(0x6000);
  check_workspace(args, 4096);
}

}  // namespace
}  // namespace kiln::api
