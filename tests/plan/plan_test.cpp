#include "plan/plan.hpp"

#include "plan/decode_split.hpp"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace kiln::plan {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;

KernelRequest request(KernelKind kind, int head_dim) {
  return {.kind = kind, .config = {.head_dim_qk = head_dim, .head_dim_v = head_dim}};
}

// What each architecture gets without a tuned table: a change here is a change of every user's kernels.
struct Expected {
  KernelKind kind;
  int head_dim;
  int capability;
  Tiling tiling;
  DType dtype = DType::f16;
};

class ReasonedTiling : public testing::TestWithParam<Expected> {};

TEST_P(ReasonedTiling, IsWhatTheTableSays) {
  const auto& expected = GetParam();
  const auto device = reference_device(expected.capability);
  auto wanted = request(expected.kind, expected.head_dim);
  wanted.config.dtype = expected.dtype;
  const auto config = plan(wanted, device, {});
  EXPECT_EQ(config.tiling, expected.tiling) << name_of(config);
  EXPECT_EQ(config.capability, expected.capability);
  EXPECT_LE(config.smem_bytes, device.smem_per_block);
}

INSTANTIATE_TEST_SUITE_P(Architectures, ReasonedTiling,
                         testing::Values(Expected{KernelKind::forward, 64, 80, {128, 64, 4, 2, 3}},
                                         Expected{KernelKind::forward, 64, 86, {128, 64, 4, 2, 2}},
                                         Expected{KernelKind::forward, 64, 90, {128, 64, 4, 2, 3}},
                                         Expected{KernelKind::forward, 128, 80, {128, 64, 8, 2, 1}},
                                         Expected{KernelKind::forward, 128, 86, {128, 64, 8, 2, 1}},
                                         Expected{KernelKind::forward, 128, 90, {128, 64, 4, 2, 2}},
                                         Expected{KernelKind::decode, 64, 80, {16, 64, 4, 4, 2}},
                                         Expected{KernelKind::decode, 128, 90, {16, 64, 4, 3, 2}},
                                         Expected{KernelKind::decode, 256, 86, {16, 32, 2, 2, 1}},
                                         Expected{KernelKind::decode, 256, 75, {16, 16, 1, 2, 1}}));

INSTANTIATE_TEST_SUITE_P(DecodeInLittleSharedMemory, ReasonedTiling,
                         testing::Values(Expected{KernelKind::decode, 64, 75, {16, 64, 4, 3, 1}},
                                         Expected{KernelKind::decode, 96, 86, {16, 64, 4, 3, 1}},
                                         Expected{KernelKind::decode, 128, 86, {16, 64, 4, 2, 1}},
                                         Expected{KernelKind::decode, 128, 88, {16, 64, 4, 2, 1}},
                                         Expected{KernelKind::decode, 128, 89, {16, 64, 4, 2, 1}},
                                         Expected{KernelKind::decode, 128, 120, {16, 64, 4, 2, 1}},
                                         Expected{KernelKind::decode, 128, 121, {16, 64, 4, 2, 1}},
                                         Expected{KernelKind::decode, 256, 80, {16, 64, 4, 2, 1}}));

TEST(ReasonedTilings, ManyRowsOfDecodeLeaveRegistersForScores) {
  auto wanted = request(KernelKind::decode, 128);
  wanted.config.decode_rows = 32;
  EXPECT_EQ(reasoned_tiling(wanted, reference_device(86)), (Tiling{32, 64, 4, 2, 1}));
  wanted.config.decode_rows = 64;
  EXPECT_EQ(reasoned_tiling(wanted, reference_device(86)), (Tiling{64, 32, 4, 2, 1}));
}

INSTANTIATE_TEST_SUITE_P(HeadDims, ReasonedTiling,
                         testing::Values(Expected{KernelKind::forward, 8, 90, {128, 64, 4, 2, 3}},
                                         Expected{KernelKind::forward, 80, 80, {128, 64, 4, 2, 2}},
                                         Expected{KernelKind::forward, 96, 90, {128, 64, 4, 2, 2}},
                                         Expected{KernelKind::forward, 112, 90, {128, 64, 4, 2, 2}},
                                         Expected{KernelKind::forward, 128, 103, {128, 48, 4, 2, 2}},
                                         Expected{KernelKind::forward, 144, 90, {128, 64, 4, 1, 2}},
                                         Expected{KernelKind::forward, 160, 80, {128, 48, 4, 1, 2}},
                                         Expected{KernelKind::forward, 192, 80, {64, 64, 4, 1, 2}},
                                         Expected{KernelKind::forward, 192, 86, {128, 32, 8, 2, 1}},
                                         Expected{KernelKind::forward, 256, 80, {128, 48, 8, 2, 1}},
                                         Expected{KernelKind::forward, 256, 86, {64, 64, 4, 1, 1}},
                                         Expected{KernelKind::forward, 256, 90, {128, 128, 8, 1, 1}}));

TEST(ReasonedTilings, FeaturesThatTakeRegistersGetSmallerTiles) {
  auto wanted = request(KernelKind::forward, 64);
  EXPECT_EQ(reasoned_tiling(wanted, reference_device(90)), (Tiling{128, 64, 4, 2, 3}));
  wanted.config.alibi = true;
  EXPECT_EQ(reasoned_tiling(wanted, reference_device(90)), (Tiling{128, 64, 4, 2, 2}));
  wanted.config.alibi = false;
  wanted.config.paged = true;
  EXPECT_EQ(reasoned_tiling(wanted, reference_device(90)), (Tiling{128, 64, 4, 2, 3}));
  EXPECT_EQ(reasoned_tiling(wanted, reference_device(100)), (Tiling{128, 48, 4, 2, 3}));
  EXPECT_EQ(reasoned_tiling(wanted, reference_device(86)), (Tiling{128, 48, 4, 2, 2})) << "its shared memory is short";
}

INSTANTIATE_TEST_SUITE_P(Float32, ReasonedTiling,
                         testing::Values(Expected{KernelKind::forward, 64, 80, {128, 48, 4, 2, 2}, DType::f32},
                                         Expected{KernelKind::forward, 64, 86, {128, 64, 8, 2, 1}, DType::f32},
                                         Expected{KernelKind::forward, 64, 90, {128, 64, 4, 2, 2}, DType::f32},
                                         Expected{KernelKind::forward, 128, 80, {128, 32, 8, 2, 1}, DType::f32},
                                         Expected{KernelKind::forward, 128, 90, {128, 32, 4, 1, 2}, DType::f32},
                                         Expected{KernelKind::forward, 256, 86, {64, 16, 4, 1, 1}, DType::f32},
                                         Expected{KernelKind::forward, 256, 90, {128, 16, 8, 2, 1}, DType::f32}));

INSTANTIATE_TEST_SUITE_P(Turing, ReasonedTiling,
                         testing::Values(Expected{KernelKind::forward, 32, 75, {128, 64, 4, 2, 2}},
                                         Expected{KernelKind::forward, 64, 75, {128, 64, 8, 2, 1}},
                                         Expected{KernelKind::forward, 128, 75, {96, 32, 6, 2, 1}},
                                         Expected{KernelKind::forward, 192, 75, {64, 16, 4, 2, 1}},
                                         Expected{KernelKind::forward, 256, 75, {48, 16, 3, 2, 1}}));

class EveryDevice : public testing::TestWithParam<int> {
 protected:
  const DeviceInfo device = reference_device(GetParam());

  void expect_tilings(const KernelRequest& wanted) const {
    const auto config = plan(wanted, device, {});
    const auto candidates = candidate_tilings(wanted, device);
    EXPECT_EQ(candidates.front(), config.tiling);
    EXPECT_EQ(std::ranges::count(candidates, config.tiling), 1) << "measured twice";
    for (const auto& tiling : candidates) {
      EXPECT_LE(with_tiling(wanted, device, tiling).smem_bytes, device.smem_per_block);
    }
  }
};

TEST_P(EveryDevice, HasATilingForEveryRequestAndItIsACandidate) {
  for (const auto dtype : {DType::f16, DType::bf16, DType::f32}) {
    if (!has_type(device.capability, dtype)) continue;
    for (const auto kind : {KernelKind::forward, KernelKind::decode}) {
      if (kind == KernelKind::decode && dtype == DType::f32) continue;
      for (int qk = 8; qk <= 256; qk += 8) {
        for (const int v : {8, 40, 64, 72, 128, 192, 256}) {
          expect_tilings({.kind = kind, .config = {.dtype = dtype, .head_dim_qk = qk, .head_dim_v = v}});
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Capabilities, EveryDevice,
                         testing::ValuesIn(known_capabilities().begin(), known_capabilities().end()));

TEST(Plan, TunedRowWinsOnItsOwnDeviceOnly) {
  const auto device = reference_device(90);
  const auto wanted = request(KernelKind::forward, 128);
  const Tiling tuned{64, 64, 4, 2, 2};
  TunedTable table;
  table.set({.request = wanted,
             .device = device.name,
             .version = template_version(KernelKind::forward),
             .tiling = tuned,
             .measured = true});
  EXPECT_EQ(plan(wanted, device, table).tiling, tuned);
  auto other = device;
  other.name = "NVIDIA H100";
  EXPECT_NE(plan(wanted, other, table).tiling, tuned);
}

TEST(Plan, TunedRowOfAnOlderTemplateIsPassedOver) {
  const auto device = reference_device(90);
  const auto wanted = request(KernelKind::forward, 128);
  TunedTable table;
  table.set({.request = wanted,
             .device = device.name,
             .version = template_version(KernelKind::forward) - 1,
             .tiling = {64, 64, 4, 2, 2}});
  EXPECT_EQ(plan(wanted, device, table).tiling, reasoned_tiling(wanted, device));
}

TEST(Plan, AlignmentSharesATunedRow) {
  const auto device = reference_device(90);
  auto wanted = request(KernelKind::forward, 64);
  wanted.config.causal = true;
  const Tiling tuned{64, 64, 4, 2, 2};
  TunedTable table;
  table.set({.request = wanted, .device = device.name, .version = template_version(wanted.kind), .tiling = tuned});
  wanted.config.alignment = Alignment::top_left;
  EXPECT_EQ(plan(wanted, device, table).tiling, tuned);
}

TEST(Plan, RefusesByNameAndLimit) {
  const auto device = reference_device(90);
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { (void)plan(request(KernelKind::forward, 100), device, {}); }),
              HasSubstr("head_dim_qk 100 is not supported: it must be a multiple of 8 from 8 to 256"));
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { (void)plan(request(KernelKind::forward, 264), device, {}); }),
              HasSubstr("head_dim_qk 264"));
  auto f32 = request(KernelKind::decode, 64);
  f32.config.dtype = DType::f32;
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { (void)plan(f32, device, {}); }),
              HasSubstr("dtype f32 is not supported by decode: it must be f16 or bf16"));
  auto value_dim = request(KernelKind::decode, 64);
  value_dim.config.head_dim_v = 0;
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { (void)plan(value_dim, device, {}); }), HasSubstr("head_dim_v 0"));
  auto old = device;
  old.capability = 70;
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { (void)plan(request(KernelKind::forward, 64), old, {}); }),
              AllOf(HasSubstr("7.0"), HasSubstr("7.5")));
  EXPECT_THAT(
      error_of(ErrorCode::unsupported, [&] { (void)plan(request(KernelKind::forward, 64), reference_device(75), {}); }),
      HasSubstr("dtype bf16 is not supported on compute capability 7.5: it must be f16"));
  EXPECT_THAT(error_of(ErrorCode::unsupported, [] { (void)reference_device(70); }),
              AllOf(HasSubstr("7.0"), HasSubstr("75"), HasSubstr("121")));
}

struct BadSide {
  const char* name;
  AttentionConfig config;
  const char* text;
};

class WindowSides : public testing::TestWithParam<BadSide> {};

TEST_P(WindowSides, AreRefusedByNameValueAndLimit) {
  const auto device = reference_device(90);
  const KernelRequest wanted{.kind = KernelKind::forward, .config = GetParam().config};
  EXPECT_EQ(error_of(ErrorCode::invalid_argument, [&] { (void)plan(wanted, device, {}); }), GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(
    Plan, WindowSides,
    testing::Values(
        BadSide{"LeftBelowOpen",
                {.window = Window::fixed, .window_left = -2},
                "window_left is -2: it must be -1 (open) or more"},
        BadSide{"RightBelowOpen",
                {.window = Window::fixed, .window_left = 4, .window_right = -7},
                "window_right is -7: it must be -1 (open) or more"},
        BadSide{"BelowOpenWithoutAWindow", {.window_right = -2}, "window_right is -2: it must be -1 (open) or more"},
        BadSide{"WithoutAWindow",
                {.window_left = 0},
                "window_left is 0, but window is none: it must be -1 unless window is fixed"},
        BadSide{"OfASlidingWindow",
                {.window = Window::sliding, .window_right = 9},
                "window_right is 9, but window is sliding: it must be -1 unless window is fixed"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(Plan, FixedWindowsMayBeOpenOnEitherSide) {
  const auto device = reference_device(90);
  for (const auto& config :
       {AttentionConfig{.window = Window::fixed, .window_left = 0},
        AttentionConfig{.window = Window::fixed, .window_right = 0}, AttentionConfig{.window = Window::fixed}}) {
    EXPECT_NO_THROW((void)plan({.kind = KernelKind::forward, .config = config}, device, {})) << to_string(config);
  }
}

TEST(Plan, RefusesATilingThatCannotExist) {
  const auto device = reference_device(86);
  const auto wanted = request(KernelKind::forward, 128);
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { (void)with_tiling(wanted, device, {100, 64, 8, 2, 1}); }),
              HasSubstr("100x64"));
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { (void)with_tiling(wanted, device, {128, 128, 8, 3, 1}); }),
              AllOf(HasSubstr("shared memory"), HasSubstr("RTX 3090"), HasSubstr("101376")));
}

TEST(Plan, ADeviceWithTooLittleSharedMemorySaysSo) {
  auto device = reference_device(86);
  device.smem_per_block = 1 << 10;
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { (void)plan(request(KernelKind::forward, 64), device, {}); }),
              AllOf(HasSubstr("1024"), HasSubstr("RTX 3090")));
}

class Splits : public testing::Test {
 protected:
  const DeviceInfo device = reference_device(90);
  const KernelConfig config = plan(request(KernelKind::decode, 128), device, {});
  const int room = device.sm_count * config.tiling.ctas_per_sm;
  const int tile = config.tiling.tile_n;

  [[nodiscard]] DecodeSplit of(const DecodeArgs& args) const { return decode_split(config, device, args); }
};

TEST_F(Splits, BalancedGroupsFillTheDeviceAndNoMore) {
  EXPECT_EQ(of({.batch = 1, .max_len_k = 1 << 20, .heads_q = 32, .heads_kv = 8}).params.groups, room / 8);
  EXPECT_EQ(of({.batch = 999, .max_len_k = 1 << 20, .heads_q = 32, .heads_kv = 8}).params.groups, room / 8);
  EXPECT_EQ(of({.batch = 1, .max_len_k = 3 * tile, .heads_q = 32, .heads_kv = 8}).params.groups, 3) << "a tile each";
  EXPECT_EQ(of({.batch = 1, .max_len_k = 3 * tile, .heads_q = 64, .heads_kv = 1}).params.groups, 4 * 3)
      << "64 heads are four row tiles";
  EXPECT_EQ(of({.batch = 1, .max_len_k = 1 << 20, .heads_q = 1000, .heads_kv = 1000}).params.groups, 1);
  const int many = of({.batch = 1, .max_len_k = 1 << 20, .heads_q = 100, .heads_kv = 100}).params.groups * 100;
  EXPECT_GE(many, room * 18 / 10) << "two rounds, nearly full: one would leave a quarter idle";
  EXPECT_LE(many, room * 2);
}

TEST_F(Splits, ManySharesABlockCount) {
  EXPECT_EQ(of({.batch = 4, .max_len_k = 1 << 14, .heads_q = 32, .heads_kv = 8}).params.share_cost, 0);
  const auto many = of({.batch = 200, .max_len_k = 10 * tile, .heads_q = 32, .heads_kv = 8});
  EXPECT_EQ(many.params.share_cost, 1);
  EXPECT_EQ(many.work, 200 * (10 + 1));
}

TEST_F(Splits, AWorkspaceHasPlaceForWhatCanBeSplit) {
  const auto balanced = of({.batch = 7, .max_len_k = 1 << 14, .heads_q = 32, .heads_kv = 8});
  EXPECT_EQ(balanced.parts, 2 * balanced.params.groups);
  EXPECT_EQ(balanced.counters, 8 * balanced.params.groups);
  EXPECT_EQ(of({.batch = 7, .max_len_k = tile, .heads_q = 32, .heads_kv = 8}).parts, 0) << "one tile can't be split";
  EXPECT_EQ(of({.batch = 7, .max_len_k = 0, .heads_q = 32, .heads_kv = 8}).parts, 0);
}

TEST_F(Splits, TheLargestNumbersAreTooManyAndDoNotOverflow) {
  constexpr int kLargest = std::numeric_limits<int>::max();
  constexpr std::int64_t kLimit = std::int64_t{1} << 31;
  const DecodeArgs huge{.batch = kLargest,
                        .len_q = 1 << 30,
                        .max_len_k = 1 << 30,
                        .heads_q = kLargest,
                        .heads_kv = 1,
                        .total_q = kLargest};
  EXPECT_GE(of(huge).work, kLimit);
  DecodeArgs fixed = huge;
  fixed.num_splits = 4096;
  EXPECT_GE(of(fixed).work, kLimit);
  EXPECT_GE(of(fixed).parts, kLimit);
  fixed.num_splits = 0;
  fixed.split_size = 1;
  EXPECT_GE(of(fixed).parts, kLimit);
}

TEST_F(Splits, FixedOnesDependOnTheLongestSequenceAlone) {
  const auto number = of({.batch = 7, .len_q = 9, .max_len_k = 1 << 14, .heads_q = 32, .heads_kv = 8, .num_splits = 5});
  EXPECT_EQ(number.params.splits, 5);
  EXPECT_EQ(number.params.row_tiles, 3) << "36 rows";
  EXPECT_EQ(number.params.groups, 7 * 3 * 5);
  EXPECT_EQ(number.parts, 7 * 3 * 5);
  EXPECT_EQ(number.counters, 7 * 3 * 8);
  const auto size = of({.batch = 7, .max_len_k = 10 * tile, .heads_q = 32, .heads_kv = 8, .split_size = 2 * tile + 1});
  EXPECT_EQ(size.params.split_tiles, 3) << "rounded up to whole tiles";
  EXPECT_EQ(size.params.splits, 4);
  EXPECT_EQ(of({.batch = 7, .max_len_k = 1 << 14, .heads_q = 32, .heads_kv = 8, .num_splits = 1}).parts, 0);
}

TEST(Canonical, DropsOnlyWhatMakesNoDifference) {
  const auto device = reference_device(90);
  const auto config_of = [&](KernelKind kind, const AttentionConfig& config) {
    return plan({.kind = kind, .config = config}, device, {});
  };
  const AttentionConfig plain;
  const AttentionConfig causal{.causal = true};
  const AttentionConfig causal_top_left{.causal = true, .alignment = Alignment::top_left};
  const AttentionConfig top_left{.alignment = Alignment::top_left};
  const AttentionConfig window{.window = Window::sliding};
  const AttentionConfig window_top_left{.alignment = Alignment::top_left, .window = Window::sliding};
  EXPECT_EQ(config_of(KernelKind::decode, causal_top_left), config_of(KernelKind::decode, plain));
  EXPECT_EQ(config_of(KernelKind::forward, top_left), config_of(KernelKind::forward, plain));
  EXPECT_NE(config_of(KernelKind::forward, causal), config_of(KernelKind::forward, plain));
  EXPECT_NE(config_of(KernelKind::forward, causal_top_left), config_of(KernelKind::forward, causal));
  EXPECT_NE(config_of(KernelKind::forward, window_top_left), config_of(KernelKind::forward, window));
  EXPECT_EQ(config_of(KernelKind::decode, window_top_left), config_of(KernelKind::decode, plain));
  EXPECT_EQ(config_of(KernelKind::decode, {.sinks = true, .ragged = true}), config_of(KernelKind::decode, plain));
  EXPECT_NE(config_of(KernelKind::decode, {.paged = true}), config_of(KernelKind::decode, plain));
  EXPECT_NE(config_of(KernelKind::decode, {.decode_rows = 32}), config_of(KernelKind::decode, plain));
  EXPECT_EQ(config_of(KernelKind::forward, {.decode_rows = 32}), config_of(KernelKind::forward, plain));
}

TEST(Names, TellConfigsApart) {
  const auto device = reference_device(90);
  auto wanted = request(KernelKind::forward, 128);
  EXPECT_EQ(name_of(plan(wanted, device, {})), "forward_bf16_d128_m128n64w4s2c2_sm90");
  wanted.config = {.dtype = DType::f16,
                   .head_dim_qk = 128,
                   .head_dim_v = 64,
                   .causal = true,
                   .alignment = Alignment::top_left,
                   .window = Window::sliding};
  EXPECT_EQ(name_of(plan(wanted, device, {})), "forward_f16_d128x64_causal_topleft_window_m128n64w4s2c2_sm90");
  EXPECT_EQ(to_string(wanted.config), "f16 d128/64 causal window top-left");
}

TEST(CompileWeight, OrdersKernelsAsTheirCompilesTake) {
  const auto weight = [](KernelKind kind, AttentionConfig config) {
    return compile_weight({.kind = kind, .config = config});
  };
  const AttentionConfig small{.head_dim_qk = 64, .head_dim_v = 64};
  const AttentionConfig small_causal{.head_dim_qk = 64, .head_dim_v = 64, .causal = true};
  EXPECT_LT(weight(KernelKind::decode, small), weight(KernelKind::decode, {}));
  EXPECT_LT(weight(KernelKind::decode, {}), weight(KernelKind::forward, small));
  EXPECT_LT(weight(KernelKind::forward, small), weight(KernelKind::forward, {}));
  EXPECT_LT(weight(KernelKind::forward, small), weight(KernelKind::forward, small_causal));
  EXPECT_LT(weight(KernelKind::forward, small_causal), weight(KernelKind::forward, {.causal = true}));
  EXPECT_LT(weight(KernelKind::forward, {.causal = true}),
            weight(KernelKind::forward, {.causal = true, .window = Window::sliding}));
  EXPECT_EQ(weight(KernelKind::decode, {}), weight(KernelKind::decode, {.causal = true})) << "the same kernel";
}

}  // namespace
}  // namespace kiln::plan
