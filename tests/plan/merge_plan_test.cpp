#include "plan/names.hpp"
#include "plan/plan.hpp"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kiln::plan {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

KernelRequest merge_of(const MergeConfig& config) { return {.kind = KernelKind::merge, .merge = config}; }

struct ExpectedMerge {
  int head_dim_v;
  DType dtype;
  Tiling tiling;
};

class MergeTilings : public testing::TestWithParam<ExpectedMerge> {};

TEST_P(MergeTilings, AreWholeRowsOfABlockOfFourWarps) {
  const auto& [head_dim, dtype, tiling] = GetParam();
  const auto device = reference_device(90);
  const auto request = merge_of({.dtype = dtype, .head_dim_v = head_dim});
  const auto config = plan(request, device, {});
  EXPECT_EQ(config.tiling, tiling);
  EXPECT_EQ(config.smem_bytes, 0);
  EXPECT_EQ(config.capability, 90);
  EXPECT_THAT(candidate_tilings(request, device), ElementsAre(tiling));
}

INSTANTIATE_TEST_SUITE_P(Dims, MergeTilings,
                         testing::Values(ExpectedMerge{8, DType::f16, {128, 4, 4, 1, 8}},
                                         ExpectedMerge{40, DType::f16, {25, 4, 4, 1, 8}},
                                         ExpectedMerge{64, DType::bf16, {16, 4, 4, 1, 8}},
                                         ExpectedMerge{128, DType::f32, {8, 4, 4, 1, 6}},
                                         ExpectedMerge{256, DType::f32, {4, 4, 4, 1, 6}}));

TEST(MergePlan, EveryDeviceMergesTheTypesItHas) {
  for (const int capability : known_capabilities()) {
    const auto device = reference_device(capability);
    for (const auto dtype : {DType::f16, DType::bf16, DType::f32}) {
      for (const auto out : {DType::f16, DType::bf16, DType::f32}) {
        const auto request = merge_of({.dtype = dtype, .out_dtype = out, .head_dim_v = 72});
        const bool has_bf16 = dtype == DType::bf16 || out == DType::bf16;
        EXPECT_EQ(has_types(capability, request), capability >= 80 || !has_bf16);
        if (!has_types(capability, request)) continue;
        EXPECT_NO_THROW((void)plan(request, device, {}));
      }
    }
  }
}

TEST(MergePlan, RefusesByNameAndLimit) {
  const auto refusal = [](const MergeConfig& config, int capability) {
    return error_of(ErrorCode::unsupported, [&] { (void)plan(merge_of(config), reference_device(capability), {}); });
  };
  EXPECT_THAT(refusal({.head_dim_v = 100}, 90),
              HasSubstr("head_dim_v 100 is not supported: it must be a multiple of 8 from 8 to 256"));
  EXPECT_THAT(refusal({.head_dim_v = 264}, 90), HasSubstr("head_dim_v 264"));
  EXPECT_THAT(refusal({.dtype = DType::bf16, .out_dtype = DType::f16}, 75),
              HasSubstr("dtype bf16 is not supported on compute capability 7.5: it must be f16 or f32"));
  EXPECT_THAT(refusal({.dtype = DType::f32, .out_dtype = DType::bf16}, 75), HasSubstr("out_dtype bf16"));
}

TEST(MergePlan, ItsKernelKnowsNothingOfAttention) {
  auto request = merge_of({.dtype = DType::f32});
  const auto alone = plan(request, reference_device(90), {});
  request.config = {.dtype = DType::f16, .head_dim_qk = 64, .causal = true};
  EXPECT_EQ(plan(request, reference_device(90), {}), alone);
  KernelRequest forward{.kind = KernelKind::forward, .merge = {.head_dim_v = 64}};
  EXPECT_EQ(plan(forward, reference_device(90), {}), plan({}, reference_device(90), {}));
}

TEST(MergePlan, NamesTellConfigsApart) {
  const auto name = [](const MergeConfig& config) { return name_of(plan(merge_of(config), reference_device(90), {})); };
  EXPECT_EQ(name({}), "merge_bf16_d128_m8n4w4s1c8_sm90");
  EXPECT_EQ(name({.dtype = DType::f32}), "merge_f32_bf16_d128_m8n4w4s1c6_sm90");
  EXPECT_EQ(describe(merge_of({.dtype = DType::f32, .head_dim_v = 64})), "merge f32 to bf16 d64");
  EXPECT_EQ(describe({.kind = KernelKind::decode}), "decode bf16 d128");
}

TEST(MergePlan, IsReadFromJsonAndWritten) {
  const auto read = [](const char* text) { return request_from_json(base::Json::parse(text, "test")); };
  EXPECT_EQ(read(R"({"kind": "merge"})"), merge_of({}));
  EXPECT_EQ(read(R"({"kind": "merge", "dtype": "f32", "head_dim": 64})"),
            merge_of({.dtype = DType::f32, .out_dtype = DType::f32, .head_dim_v = 64}));
  const auto request = merge_of({.dtype = DType::f32, .out_dtype = DType::f16, .head_dim_v = 96});
  EXPECT_EQ(request_from_json(base::Json(to_json(request))), request);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { read(R"({"kind": "merge", "causal": true})"); }),
              HasSubstr("causal"));
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { read(R"({"kind": "merge", "out_dtype": "f8"})"); }),
              HasSubstr("f8"));
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { read(R"({"kind": "decode", "out_dtype": "f16"})"); }),
              HasSubstr("out_dtype"));
}

TEST(MergePlan, CompilesAfterAllAttention) {
  EXPECT_LT(compile_weight(merge_of({.head_dim_v = 256})),
            compile_weight({.kind = KernelKind::decode, .config = {.head_dim_qk = 64, .head_dim_v = 64}}));
}

}  // namespace
}  // namespace kiln::plan
