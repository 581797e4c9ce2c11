#include "cli/selection.hpp"
#include "cli/shape.hpp"
#include "plan/kernel_config.hpp"
#include "plan/names.hpp"
#include "support/expect_error.hpp"
#include "tune/host_data.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace kiln::cli {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(KernelWords, DefaultsNameOneKernel) {
  EXPECT_EQ(parse_request({}), (KernelRequest{KernelKind::forward, AttentionConfig{}}));
}

TEST(KernelWords, ListsStandForEveryCombination) {
  const auto requests = parse_requests({.kind = "forward,decode", .dtype = "f16,bf16,f16", .head_dim = "64,192/128"});
  EXPECT_EQ(requests.size(), 8U);  // f16 named twice counts once
  EXPECT_EQ(requests[1].config.head_dim_qk, 192);
  EXPECT_EQ(requests[1].config.head_dim_v, 128);
}

TEST(KernelWords, FlagsReachTheConfig) {
  const auto request = parse_request({.causal = true, .align = "top-left", .window = true});
  EXPECT_TRUE(request.config.causal);
  EXPECT_EQ(request.config.alignment, Alignment::top_left);
  EXPECT_EQ(request.config.window, Window::sliding);
}

TEST(KernelWords, DecodeRowsAreDecodesAlone) {
  const auto requests = parse_requests({.kind = "forward,decode", .decode_rows = "16,64"});
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[0], (KernelRequest{KernelKind::forward, {}}));
  EXPECT_EQ(requests[1], (KernelRequest{KernelKind::decode, {.decode_rows = 16}}));
  EXPECT_EQ(requests[2], (KernelRequest{KernelKind::decode, {.decode_rows = 64}}));
}

TEST(KernelWords, DecodeRowsAreReadFromJsonAndWritten) {
  const auto json = base::Json::parse(R"({"kind": "decode", "decode_rows": 32})", "test");
  const KernelRequest request{KernelKind::decode, {.decode_rows = 32}};
  EXPECT_EQ(plan::request_from_json(json), request);
  EXPECT_EQ(base::Json(plan::to_json(request)).at("decode_rows").as_int(0, 99), 32);
  EXPECT_FALSE(plan::to_json({KernelKind::decode, {}}).contains("decode_rows"));
  const auto bad = base::Json::parse(R"({"kind": "decode", "decode_rows": 0})", "test");
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { plan::request_from_json(bad); }), HasSubstr("decode_rows"));
}

TEST(KernelWords, ToolOptionsNameDecodeRows) {
  const KernelRequest request{KernelKind::decode, {.decode_rows = 64}};
  EXPECT_EQ(plan::tool_options(request), "--kind decode --dtype bf16 --head-dim 128/128 --decode-rows 64");
  EXPECT_EQ(parse_request({.kind = "decode", .decode_rows = "64"}), request);
}

TEST(Architectures, NumbersNamesAndAll) {
  EXPECT_THAT(parse_architectures("80,sm_90,80"), ElementsAre(80, 90));
  EXPECT_GE(parse_architectures("all").size(), 8U);
}

TEST(Tiling, RoundTrips) {
  const plan::Tiling tiling{.tile_m = 128, .tile_n = 64, .warps = 8, .stages = 2, .ctas_per_sm = 1};
  EXPECT_EQ(to_string(tiling), "128x64,8,2,1");
  EXPECT_EQ(parse_tiling("128x64,8,2,1"), tiling);
}

TEST(Lengths, KIs1024) {
  EXPECT_EQ(parse_length("16k", "--len"), 16384);
  EXPECT_EQ(parse_length("7", "--len"), 7);
}

TEST(Shapes, DefaultsSuitTheKind) {
  const auto forward = parse_problem({}, {});
  EXPECT_EQ(forward.len_q, 1024);
  EXPECT_EQ(forward.len_k, 1024);
  const auto decode = parse_problem({KernelKind::decode, {}}, {.heads = "32/8"});
  EXPECT_EQ(decode.len_q, 1);
  EXPECT_EQ(decode.len_k, 4096);
  EXPECT_EQ(decode.heads_q, 32);
  EXPECT_EQ(decode.heads_kv, 8);
}

TEST(Shapes, SayWhatADecodeCallMayHave) {
  const KernelRequest request{KernelKind::decode, {.paged = true}};
  const auto problem = parse_problem(
      request, {.batch = 9, .len_q = "16", .len_k = "2k", .page_size = 64, .lengths = "zipf", .split_size = 512});
  EXPECT_EQ(problem.len_q, 16);
  EXPECT_EQ(problem.page_size, 64);
  EXPECT_EQ(problem.split_size, 512);
  EXPECT_EQ(problem.lengths, tune::zipf_lengths(9, 2048, 1));
  EXPECT_EQ(parse_problem(request, {}).page_size, 16);
  EXPECT_TRUE(parse_problem(request, {.lengths = "even"}).lengths.empty());
}

TEST(Shapes, DecodeIsTunedForAsManyTokensAsItHasRows) {
  for (const auto& [rows, len_q] : {std::pair{16, 1}, std::pair{32, 8}, std::pair{64, 16}}) {
    const auto problems = usual_problems({KernelKind::decode, {.paged = true, .decode_rows = rows}});
    EXPECT_EQ(problems.size(), 4U);
    for (const tune::Problem& problem : problems) EXPECT_EQ(problem.len_q, len_q);
  }
}

TEST(Shapes, OneWordHoldsThemAll) {
  const auto problem = parse_shape({}, "2x1kx4096:32/8");
  EXPECT_EQ(problem.batch, 2);
  EXPECT_EQ(problem.len_q, 1024);
  EXPECT_EQ(problem.len_k, 4096);
  EXPECT_EQ(problem.heads_q, 32);
  EXPECT_EQ(problem.heads_kv, 8);
}

TEST(Shapes, UsualOnesAreValidForAKernelOfEveryRow) {
  for (const KernelRequest& request : one_of_each_row(shipped_requests())) {
    for (const tune::Problem& problem : usual_problems(request)) EXPECT_NO_THROW(tune::validate(problem));
  }
}

TEST(KernelWords, ToolOptionsNameTheSameRequest) {
  AttentionConfig config{.dtype = DType::f16,
                         .head_dim_qk = 192,
                         .causal = true,
                         .alignment = Alignment::top_left,
                         .window = Window::fixed,
                         .window_left = 1023,
                         .softcap = true,
                         .sinks = true,
                         .bias = Bias::mask,
                         .ragged = true,
                         .output_f32 = true};
  EXPECT_EQ(plan::tool_options({KernelKind::forward, config}),
            "--kind forward --dtype f16 --head-dim 192/128 --causal --align top-left --fixed-window 1023/open --with "
            "softcap,sinks,ragged,output_f32,mask");
  EXPECT_EQ(parse_requests({.dtype = "f16",
                            .head_dim = "192/128",
                            .causal = true,
                            .align = "top-left",
                            .fixed_window = "1023/open",
                            .with = "softcap,sinks,ragged,output_f32,mask"}),
            (std::vector{KernelRequest{KernelKind::forward, config}}));
}

TEST(KernelWords, AMergeHasTypesAndADim) {
  const KernelRequest request{.kind = KernelKind::merge,
                              .merge = {.dtype = DType::f32, .out_dtype = DType::bf16, .head_dim_v = 64}};
  EXPECT_EQ(parse_request({.kind = "merge", .dtype = "f32", .head_dim = "64", .out_dtype = "bf16"}), request);
  EXPECT_EQ(plan::tool_options(request), "--kind merge --dtype f32 --head-dim 64 --out-dtype bf16");
  EXPECT_EQ(parse_request({.kind = "merge", .dtype = "f16", .head_dim = "192/128"}).merge,
            (MergeConfig{.dtype = DType::f16, .out_dtype = DType::f16, .head_dim_v = 128}));
  const auto mixed = parse_requests({.kind = "decode,merge", .causal = true, .decode_rows = "16,64"});
  ASSERT_EQ(mixed.size(), 3U);
  EXPECT_EQ(mixed.back(), (KernelRequest{.kind = KernelKind::merge}));
}

TEST(Shipped, MergesHaveNoRowOfATunedTable) {
  const auto is_merge = [](const KernelRequest& request) { return request.kind == KernelKind::merge; };
  EXPECT_EQ(std::ranges::count_if(shipped_requests(), is_merge), 12);
  EXPECT_EQ(std::ranges::count_if(one_of_each_row(shipped_requests()), is_merge), 0);
}

TEST(Shipped, EachKernelOnce) {
  std::set<KernelRequest> kernels;
  for (const KernelRequest& request : shipped_requests()) {
    EXPECT_TRUE(kernels.insert(plan::canonical(request)).second) << plan::tool_options(request);
  }
}

struct BadWord {
  const char* name;
  void (*parse)();
  const char* message;
};

class BadWords : public testing::TestWithParam<BadWord> {};

TEST_P(BadWords, AreRefusedByName) {
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, GetParam().parse), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Options, BadWords,
    testing::Values(
        BadWord{"kind", [] { parse_requests({.kind = "backward"}); },
                "--kind: \"backward\" is not one of forward, decode, merge"},
        BadWord{"merge_mask", [] { parse_requests({.kind = "merge", .causal = true}); }, "a merge has no mask"},
        BadWord{"merge_with", [] { parse_requests({.kind = "merge", .with = "softcap"}); }, "a merge has no mask"},
        BadWord{"merge_out", [] { parse_requests({.kind = "merge", .out_dtype = "f8"}); }, "--out-dtype: \"f8\""},
        BadWord{"dtype", [] { parse_requests({.dtype = "fp8"}); }, "--dtype: \"fp8\""},
        BadWord{"with", [] { parse_requests({.with = "softcap,sink"}); },
                "--with: \"sink\" is not one of additive, mask, causal, softcap"},
        BadWord{"fixed_window", [] { parse_requests({.fixed_window = "7"}); },
                "--fixed-window: \"7\" is not of the form"},
        BadWord{"fixed_window_side", [] { parse_requests({.fixed_window = "7/-1"}); }, "--fixed-window: \"-1\""},
        BadWord{"two_windows", [] { parse_requests({.window = true, .fixed_window = "7/0"}); }, "exclude each other"},
        BadWord{"empty_in_list", [] { parse_requests({.dtype = "bf16,"}); }, "--dtype: \"\""},
        BadWord{"head_dim", [] { parse_requests({.head_dim = "12x"}); }, "--head-dim: \"12x\" is not a whole number"},
        BadWord{"head_dim_zero", [] { parse_requests({.head_dim = "0"}); }, "from 1 to"},
        BadWord{"head_dim_v", [] { parse_requests({.head_dim = "128/"}); }, "--head-dim: \"\""},
        BadWord{"align", [] { parse_requests({.align = "left"}); }, "--align: \"left\""},
        BadWord{"several", [] { parse_request({.dtype = "f16,bf16"}); }, "name 2 kernels: this command takes one"},
        BadWord{"arch_text", [] { parse_architectures("hopper"); }, "--arch: \"hopper\""},
        BadWord{"arch_old", [] { parse_architectures("70"); }, "--arch: 70 is not one of 75, 80, "},
        BadWord{"arch_empty", [] { parse_architectures(""); }, "--arch: \"\""},
        BadWord{"tile", [] { parse_tiling("128x64"); }, "--tile: \"128x64\" is not of the form 128x64,8,2,1"},
        BadWord{"tile_zero", [] { parse_tiling("128x64,8,0,1"); }, "--tile: \"0\" is not a whole number from 1"},
        BadWord{"length", [] { parse_length("-1", "--len-q"); }, "--len-q: \"-1\""},
        BadWord{"length_huge", [] { parse_length("99999999999", "--len-q"); }, "--len-q: \"99999999999\""},
        BadWord{"heads", [] { parse_problem({}, {.heads = "5/2"}); }, "heads_q 5 is not a multiple of heads_kv 2"},
        BadWord{"decode_rows", [] { parse_requests({.kind = "decode", .decode_rows = "few"}); },
                "--decode-rows: \"few\" is not a whole number"},
        BadWord{"pages_without", [] { parse_problem({}, {.page_size = 16}); }, "--page-size is 16, but the kernel has"},
        BadWord{"lengths", [] { parse_problem({KernelKind::decode, {}}, {.lengths = "odd"}); },
                "--lengths: \"odd\" is neither even nor zipf"},
        BadWord{"lengths_of_none", [] { parse_problem({}, {.lengths = "zipf"}); }, "only decode and ragged kernels"},
        BadWord{"batch", [] { parse_problem({}, {.batch = 0}); }, "batch is 0"},
        BadWord{"shape", [] { parse_shape({}, "2x1024:8"); }, "--shape: \"2x1024:8\" is not of the form"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace kiln::cli
