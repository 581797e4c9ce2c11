#include "api/argument_misuse.hpp"
#include "api/check_args.hpp"
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

using DecodeMisuse = ArgumentMisuse<DecodeArgs>;

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
        DecodeMisuse{"NegativeNewTokens", [](auto& a) { a.len_q = -2; }, "len_q is -2", "0 or more"},
        DecodeMisuse{"HugeNewTokens", [](auto& a) { a.len_q = std::numeric_limits<int>::max(); }, "len_q is 2147483647",
                     "1073741824"},
        DecodeMisuse{"HugeMaxLength", [](auto& a) { a.max_len_k = std::numeric_limits<int>::max(); },
                     "max_len_k is 2147483647", "1073741824"},
        DecodeMisuse{"HeadsDontDivide", [](auto& a) { a.heads_q = 7; }, "heads_q 7", "heads_kv 2"},
        DecodeMisuse{"ScaleNotANumber", [](auto& a) { a.scale = std::nanf(""); }, "scale", "finite"},
        DecodeMisuse{"NegativeSplitSize", [](auto& a) { a.split_size = -1; }, "split_size is -1", "0 or more"},
        DecodeMisuse{"SplitsAndTheirSize",
                     [](auto& a) {
                       a.num_splits = 3;
                       a.split_size = 64;
                     },
                     "num_splits is 3 and split_size 64", "one of them must be 0"},
        DecodeMisuse{"OutputThatRepeats", [](auto& a) { a.out.strides.head = 0; }, "out.strides.head is 0", "written"},
        DecodeMisuse{"WindowWithoutOne", [](auto& a) { a.window_left = 0; }, "window_left is 0", "Window::sliding"}),
    [](const auto& parameter) { return parameter.param.name; });

/// A decode call that brings everything that a kernel with everything takes.
DecodeArgs decode_with_everything() {
  auto args = good_decode();
  const auto q = Strides::bshd(4, 8, 128);
  args.len_q = 4;
  args.q.strides = args.out.strides = q;
  args.softcap = 30;
  args.alibi_slopes = device_list<float>(0x5104);
  args.alibi_batch_stride = 8;
  args.sinks = device_list<float>(0x5204);
  args.bias = {pointer(0x6002), {.batch = 0, .row = 201, .head = 804}};
  args.tree = {.words = device_list<std::uint32_t>(0x6104), .batch_stride = 4, .row_stride = 1};
  args.cu_seqlens_q = device_list<std::int32_t>(0x7004);
  args.seqused_q = device_list<std::int32_t>(0x7104);
  args.total_q = 7;
  args.cache_rows = device_list<std::int32_t>(0x7204);
  args.left_padding = device_list<std::int32_t>(0x7304);
  args.pages = {.table = device_list<std::int32_t>(0x7404), .row_stride = 13, .page_size = 16};
  return args;
}

class DecodeFeatureMisuses : public testing::TestWithParam<DecodeMisuse> {};

TEST_P(DecodeFeatureMisuses, NameTheValueAndTheLimit) {
  auto args = decode_with_everything();
  check(kEverything, args);
  GetParam().change(args);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check(kEverything, args); }),
              AllOf(HasSubstr(GetParam().value), HasSubstr(GetParam().limit)));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, DecodeFeatureMisuses,
    testing::Values(
        DecodeMisuse{"NoSoftcap", [](auto& a) { a.softcap = 0; }, "softcap is 0", "more than 0"},
        DecodeMisuse{"NoSlopes", [](auto& a) { a.alibi_slopes = nullptr; }, "alibi_slopes is null", ""},
        DecodeMisuse{"HugeSlopeStride", [](auto& a) { a.alibi_batch_stride = std::int64_t{1} << 40; },
                     "alibi_batch_stride", "2^40"},
        DecodeMisuse{"NoSinks", [](auto& a) { a.sinks = nullptr; }, "sinks is null", ""},
        DecodeMisuse{"NoBias", [](auto& a) { a.bias.data = nullptr; }, "bias is null", ""},
        DecodeMisuse{"MisalignedTree", [](auto& a) { a.tree.words = device_list<std::uint32_t>(0x6102); },
                     "tree.words is 0x6102", "4 bytes"},
        DecodeMisuse{"NegativeTreeBatchStride", [](auto& a) { a.tree.batch_stride = -1; }, "tree.batch_stride is -1",
                     "at least 0"},
        DecodeMisuse{"HugeTreeRowStride", [](auto& a) { a.tree.row_stride = std::int64_t{1} << 40; },
                     "tree.row_stride is 1099511627776", "2^40"},
        DecodeMisuse{"MisalignedCuSeqlens", [](auto& a) { a.cu_seqlens_q = device_list<std::int32_t>(0x7001); },
                     "cu_seqlens_q is 0x7001", "4 bytes"},
        DecodeMisuse{"MisalignedSequsedQ", [](auto& a) { a.seqused_q = device_list<std::int32_t>(0x7102); },
                     "seqused_q is 0x7102", "4 bytes"},
        DecodeMisuse{"NegativeTotal", [](auto& a) { a.total_q = -1; }, "total_q is -1", "0 or more"},
        DecodeMisuse{"TotalOfNoPackedQueries", [](auto& a) { a.cu_seqlens_q = nullptr; }, "total_q is 7",
                     "cu_seqlens_q is null"},
        DecodeMisuse{"MisalignedCacheRows", [](auto& a) { a.cache_rows = device_list<std::int32_t>(0x7202); },
                     "cache_rows is 0x7202", "4 bytes"},
        DecodeMisuse{"MisalignedLeftPadding", [](auto& a) { a.left_padding = device_list<std::int32_t>(0x7303); },
                     "left_padding is 0x7303", "4 bytes"},
        DecodeMisuse{"NoPageSize", [](auto& a) { a.pages.page_size = 0; }, "pages.page_size is 0", "1 or more"},
        DecodeMisuse{"NoPageTable", [](auto& a) { a.pages.table = nullptr; }, "pages.table is null", ""},
        DecodeMisuse{"ShortPageTable", [](auto& a) { a.pages.row_stride = 12; }, "pages.row_stride is 12",
                     "need 13 entries"},
        DecodeMisuse{"MisalignedPageLists", [](auto& a) { a.pages.indptr = device_list<std::int32_t>(0x7502); },
                     "pages.indptr is 0x7502", "4 bytes"},
        DecodeMisuse{"NoLastPageLengths", [](auto& a) { a.pages.indptr = device_list<std::int32_t>(0x7504); },
                     "pages.last_page_len is null", ""},
        DecodeMisuse{"LastPageLengthsOfNoLists",
                     [](auto& a) { a.pages.last_page_len = device_list<std::int32_t>(0x7604); },
                     "pages.last_page_len is given", "pages.indptr is null"},
        DecodeMisuse{"PageStrideNotSixteenBytes", [](auto& a) { a.v_cache.strides.batch = 4100; },
                     "v_cache.strides.batch is 4100", "16 bytes"},
        DecodeMisuse{"PackedRowThatRepeats", [](auto& a) { a.out.strides.row = 0; }, "out.strides.row is 0",
                     "written"}),
    [](const auto& parameter) { return parameter.param.name; });

class UnwantedDecodeFeature : public testing::TestWithParam<DecodeMisuse> {};

TEST_P(UnwantedDecodeFeature, IsRefusedByAKernelWithoutIt) {
  auto args = good_decode();
  GetParam().change(args);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check({}, args); }),
              AllOf(HasSubstr(GetParam().value), HasSubstr(GetParam().limit)));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, UnwantedDecodeFeature,
    testing::Values(
        DecodeMisuse{"Softcap", [](auto& a) { a.softcap = 30; }, "softcap is 30", "softcap off"},
        DecodeMisuse{"Slopes", [](auto& a) { a.alibi_slopes = device_list<float>(0x5004); }, "alibi_slopes is given",
                     "alibi off"},
        DecodeMisuse{"Sinks", [](auto& a) { a.sinks = device_list<float>(0x5004); }, "sinks is given", "sinks off"},
        DecodeMisuse{"BiasTensor", [](auto& a) { a.bias.data = pointer(0x6000); }, "bias is given", "none"},
        DecodeMisuse{"CuSeqlensQ", [](auto& a) { a.cu_seqlens_q = device_list<std::int32_t>(0x7004); },
                     "cu_seqlens_q is given", "ragged off"},
        DecodeMisuse{"SequsedQ", [](auto& a) { a.seqused_q = device_list<std::int32_t>(0x7004); }, "seqused_q is given",
                     "ragged off"},
        DecodeMisuse{"PageTable", [](auto& a) { a.pages.table = device_list<std::int32_t>(0x7004); },
                     "pages.table is given", "paged off"},
        DecodeMisuse{"PageLists", [](auto& a) { a.pages.indptr = device_list<std::int32_t>(0x7004); },
                     "pages.indptr is given", "paged off"},
        DecodeMisuse{"LastPages", [](auto& a) { a.pages.last_page_len = device_list<std::int32_t>(0x7004); },
                     "pages.last_page_len is given", "paged off"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(DecodeFeatures, AllowWhatTheContractAllows) {
  auto args = decode_with_everything();
  args.max_len_k = 0;  // then nothing of the keys is asked for
  args.k_cache.data = args.v_cache.data = nullptr;
  args.bias.data = nullptr;
  args.pages.table = nullptr;
  check(kEverything, args);
  args = decode_with_everything();
  args.total_q = 0;  // nothing is written
  args.out.data = nullptr;
  args.sinks = nullptr;
  check(kEverything, args);
  args = decode_with_everything();
  args.pages = {.table = args.pages.table,  // lists have no rows
                .page_size = 16,
                .indptr = device_list<std::int32_t>(0x7504),
                .last_page_len = device_list<std::int32_t>(0x7604)};
  check(kEverything, args);
  args = good_decode();
  args.k_cache.strides.batch = args.v_cache.strides.batch = 0;  // one cache for all
  args.cache_rows = device_list<std::int32_t>(0x7204);
  args.split_size = 100;
  check({}, args);
}

TEST(DecodeFeatures, ARowThatSequencesChooseNeedsAStride) {
  auto args = good_decode();
  args.batch = 1;
  args.k_cache.strides.batch = -8;
  check({}, args);  // of one row: never used
  args.cache_rows = device_list<std::int32_t>(0x7204);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check({}, args); }),
              AllOf(HasSubstr("k_cache.strides.batch is -8"), HasSubstr("0 or more")));
  args = decode_with_everything();
  args.batch = 1;
  args.pages.row_stride = 0;
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check(kEverything, args); }),
              AllOf(HasSubstr("pages.row_stride is 0"), HasSubstr("need 13 entries")));
  args.cache_rows = nullptr;
  check(kEverything, args);
}

/// What follows from a call and the kernel that it is for.
class SplitMisuse : public testing::Test {
 protected:
  static constexpr int kTileM = 16;

  [[nodiscard]] std::string words() const {
    return error_of(ErrorCode::invalid_argument, [&] { check_split(args_, kTileM, split_); });
  }
  void SetUp() override { check_split(args_, kTileM, split_); }

  DecodeArgs args_ = good_decode();
  plan::DecodeSplit split_{.params = {.groups = 7}, .work = 14, .counters = 14, .parts = 14};
};

TEST_F(SplitMisuse, MoreRowsThanADivisionIsExactFor) {
  args_.len_q = 134'217'728;
  EXPECT_THAT(words(), AllOf(HasSubstr("len_q is 134217728"), HasSubstr("4 query heads"), HasSubstr("134217727")));
}

TEST_F(SplitMisuse, MoreBlocksThanAGridHas) {
  split_.params.groups = 1 << 30;
  EXPECT_THAT(words(), AllOf(HasSubstr("2147483648 blocks"), HasSubstr("fewer than 2147483648")));
}

TEST_F(SplitMisuse, MoreTilesThan32BitsCount) {
  split_.work = std::int64_t{1} << 31;
  EXPECT_THAT(words(), AllOf(HasSubstr("batch 2"), HasSubstr("max_len_k 200"), HasSubstr("2147483648 tiles"),
                             HasSubstr("fewer than 2147483648")));
}

TEST_F(SplitMisuse, MorePartialResultsThan32BitsCount) {
  split_.parts = std::int64_t{1} << 26;  // of 2 KV heads and 16 rows each
  EXPECT_THAT(words(), AllOf(HasSubstr("2147483648 partial results"), HasSubstr("fewer than 2147483648")));
}

TEST_F(SplitMisuse, MoreRowTilesThanThereAreCounters) {
  split_.counters = 65'537;
  args_.num_splits = 2;
  EXPECT_THAT(words(), AllOf(HasSubstr("num_splits is 2"), HasSubstr("65537"), HasSubstr("more than 65536")));
  args_.num_splits = 0;
  args_.split_size = 100;
  EXPECT_THAT(words(), AllOf(HasSubstr("split_size is 100"), HasSubstr("65537"), HasSubstr("more than 65536")));
}

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
