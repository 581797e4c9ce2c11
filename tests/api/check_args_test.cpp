#include "api/check_args.hpp"

#include "api/argument_misuse.hpp"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

namespace kiln::api {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;

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

using Misuse = ArgumentMisuse<ForwardArgs>;

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

/// A forward call that brings everything that a kernel with everything takes.
ForwardArgs with_everything() {
  auto args = good_forward();
  args.softcap = 30;
  args.alibi_slopes = device_list<float>(0x5004);
  args.alibi_batch_stride = 8;
  args.sinks = device_list<float>(0x5104);
  args.bias = {pointer(0x6002), {.batch = 0, .row = 201, .head = 20100}};
  args.lengths = {.cu_seqlens_q = device_list<std::int32_t>(0x7004),
                  .cu_seqlens_k = nullptr,
                  .seqused_q = device_list<std::int32_t>(0x7104),
                  .seqused_k = device_list<std::int32_t>(0x7204),
                  .total_q = 150};
  args.pages = {device_list<std::int32_t>(0x7304), 13, 16};
  return args;
}

class FeatureMisuse : public testing::TestWithParam<Misuse> {};

TEST_P(FeatureMisuse, NamesTheValueAndTheLimit) {
  auto args = with_everything();
  check(kEverything, args);
  GetParam().change(args);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check(kEverything, args); }),
              AllOf(HasSubstr(GetParam().value), HasSubstr(GetParam().limit)));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, FeatureMisuse,
    testing::Values(
        Misuse{"NoSoftcap", [](auto& a) { a.softcap = 0; }, "softcap is 0", "more than 0"},
        Misuse{"NegativeSoftcap", [](auto& a) { a.softcap = -3; }, "softcap is -3", "more than 0"},
        Misuse{"InfiniteSoftcap", [](auto& a) { a.softcap = std::numeric_limits<float>::infinity(); }, "softcap is inf",
               "finite"},
        Misuse{"SoftcapNotANumber", [](auto& a) { a.softcap = std::nanf(""); }, "softcap is nan", "finite"},
        Misuse{"NoSlopes", [](auto& a) { a.alibi_slopes = nullptr; }, "alibi_slopes is null", ""},
        Misuse{"MisalignedSlopes", [](auto& a) { a.alibi_slopes = device_list<float>(0x5002); },
               "alibi_slopes is 0x5002", "4 bytes"},
        Misuse{"NegativeSlopeStride", [](auto& a) { a.alibi_batch_stride = -1; }, "alibi_batch_stride is -1",
               "at least 0"},
        Misuse{"HugeSlopeStride", [](auto& a) { a.alibi_batch_stride = std::int64_t{1} << 40; }, "alibi_batch_stride",
               "2^40"},
        Misuse{"NoSinks", [](auto& a) { a.sinks = nullptr; }, "sinks is null", ""},
        Misuse{"MisalignedSinks", [](auto& a) { a.sinks = device_list<float>(0x5103); }, "sinks is 0x5103", "4 bytes"},
        Misuse{"NoBias", [](auto& a) { a.bias.data = nullptr; }, "bias is null", ""},
        Misuse{"MisalignedBias", [](auto& a) { a.bias.data = pointer(0x6001); }, "bias is 0x6001", "2 bytes"},
        Misuse{"NegativeBiasBatchStride", [](auto& a) { a.bias.strides.batch = -8; }, "bias.strides.batch is -8",
               "at least 0"},
        Misuse{"NegativeBiasRowStride", [](auto& a) { a.bias.strides.row = -1; }, "bias.strides.row is -1",
               "at least 0"},
        Misuse{"HugeBiasHeadStride", [](auto& a) { a.bias.strides.head = std::int64_t{1} << 40; }, "bias.strides.head",
               "2^40"},
        Misuse{"MisalignedCuSeqlens", [](auto& a) { a.lengths.cu_seqlens_q = device_list<std::int32_t>(0x7001); },
               "cu_seqlens_q is 0x7001", "4 bytes"},
        Misuse{"MisalignedSequsedQ", [](auto& a) { a.lengths.seqused_q = device_list<std::int32_t>(0x7102); },
               "seqused_q is 0x7102", "4 bytes"},
        Misuse{"MisalignedSequsedK", [](auto& a) { a.lengths.seqused_k = device_list<std::int32_t>(0x7202); },
               "seqused_k is 0x7202", "4 bytes"},
        Misuse{"NegativeTotal", [](auto& a) { a.lengths.total_q = -1; }, "total_q is -1", "0 or more"},
        Misuse{"TotalOfNoPackedQueries", [](auto& a) { a.lengths.cu_seqlens_q = nullptr; }, "total_q is 150",
               "cu_seqlens_q is null"},
        Misuse{"PackedKeysInPages", [](auto& a) { a.lengths.cu_seqlens_k = device_list<std::int32_t>(0x7404); },
               "cu_seqlens_k is given", "seqused_k"},
        Misuse{"NoPageSize", [](auto& a) { a.pages.page_size = 0; }, "pages.page_size is 0", "1 or more"},
        Misuse{"NoPageTable", [](auto& a) { a.pages.table = nullptr; }, "pages.table is null", ""},
        Misuse{"MisalignedPageTable", [](auto& a) { a.pages.table = device_list<std::int32_t>(0x7302); },
               "pages.table is 0x7302", "4 bytes"},
        Misuse{"ShortPageTable", [](auto& a) { a.pages.row_stride = 12; }, "pages.row_stride is 12", "need 13 entries"},
        Misuse{"PageStrideNotSixteenBytes", [](auto& a) { a.k.strides.batch = 4100; }, "k.strides.batch is 4100",
               "16 bytes"},
        Misuse{"PackedRowThatRepeats", [](auto& a) { a.out.strides.row = 0; }, "out.strides.row is 0", "written"},
        Misuse{"TooManyPackedBlocks",
               [](auto& a) {
                 a.lengths.total_q = std::numeric_limits<int>::max();
                 a.heads_q = 64;
               },
               "blocks", "2147483648"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(ForwardFeatures, PagesAreATableOfRows) {
  auto args = with_everything();
  args.pages.last_page_len = device_list<std::int32_t>(0x7504);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check(kEverything, args); }),
              HasSubstr("pages.last_page_len is given, but forward kernels take a table of rows"));
  args.pages.indptr = args.pages.last_page_len;
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check(kEverything, args); }),
              HasSubstr("pages.indptr is given, but forward kernels take a table of rows"));
}

class UnwantedFeature : public testing::TestWithParam<Misuse> {};

TEST_P(UnwantedFeature, IsRefusedByAKernelWithoutIt) {
  auto args = good_forward();
  GetParam().change(args);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check({}, args); }),
              AllOf(HasSubstr(GetParam().value), HasSubstr(GetParam().limit)));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, UnwantedFeature,
    testing::Values(Misuse{"Softcap", [](auto& a) { a.softcap = 30; }, "softcap is 30", "softcap off"},
                    Misuse{"Slopes", [](auto& a) { a.alibi_slopes = device_list<float>(0x5004); },
                           "alibi_slopes is given", "alibi off"},
                    Misuse{"Sinks", [](auto& a) { a.sinks = device_list<float>(0x5004); }, "sinks is given",
                           "sinks off"},
                    Misuse{"BiasTensor", [](auto& a) { a.bias.data = pointer(0x6000); }, "bias is given", "none"},
                    Misuse{"CuSeqlensQ", [](auto& a) { a.lengths.cu_seqlens_q = device_list<std::int32_t>(0x7004); },
                           "cu_seqlens_q is given", "ragged off"},
                    Misuse{"CuSeqlensK", [](auto& a) { a.lengths.cu_seqlens_k = device_list<std::int32_t>(0x7004); },
                           "cu_seqlens_k is given", "ragged off"},
                    Misuse{"SequsedQ", [](auto& a) { a.lengths.seqused_q = device_list<std::int32_t>(0x7004); },
                           "seqused_q is given", "ragged off"},
                    Misuse{"SequsedK", [](auto& a) { a.lengths.seqused_k = device_list<std::int32_t>(0x7004); },
                           "seqused_k is given", "ragged off"},
                    Misuse{"PageTable", [](auto& a) { a.pages.table = device_list<std::int32_t>(0x7004); },
                           "pages.table is given", "paged off"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(ForwardFeatures, AllowWhatTheContractAllows) {
  auto args = with_everything();
  args.len_k = 0;  // then nothing of the keys is asked for
  args.k.data = args.v.data = nullptr;
  args.bias.data = nullptr;
  args.pages.table = nullptr;
  check(kEverything, args);
  args = with_everything();
  args.lengths.total_q = 0;  // nothing is written
  args.out.data = nullptr;
  args.sinks = nullptr;
  check(kEverything, args);
  args = with_everything();
  args.lengths = {};
  check(kEverything, args);
  args = with_everything();
  args.batch = 1;
  args.pages.row_stride = 0;  // there is one row
  check(kEverything, args);
  args = good_forward();
  args.bias = {pointer(0x6001), {}};
  check({.bias = Bias::mask}, args);
  args = good_forward();
  args.q.strides.batch = args.out.strides.batch = -5;  // packed tensors have none
  args.lengths = {.cu_seqlens_q = device_list<std::int32_t>(0x7004), .total_q = 150};
  check({.ragged = true}, args);
}

TEST(ForwardFeatures, AlignmentFollowsTheType) {
  const AttentionConfig config{.dtype = DType::f32, .bias = Bias::additive};
  auto args = good_forward();
  args.bias = {pointer(0x6004), {}};
  args.k.strides.row = 260;
  check(config, args);
  args.k.strides.row = 258;
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check(config, args); }),
              AllOf(HasSubstr("k.strides.row is 258"), HasSubstr("16 bytes")));
  args.k.strides.row = 256;
  args.bias.data = pointer(0x6002);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check(config, args); }),
              AllOf(HasSubstr("bias is 0x6002"), HasSubstr("4 bytes")));
}

TEST(ForwardFeatures, AFixedWindowTakesNoSidesFromACall) {
  auto args = good_forward();
  args.window_right = 4;
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check({.window = Window::fixed, .window_left = 9}, args); }),
              AllOf(HasSubstr("window_right is 4"), HasSubstr("Window::sliding")));
}

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

}  // namespace
}  // namespace kiln::api
