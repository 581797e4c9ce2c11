// Merging through the API: what it refuses, and what a launch hands to the driver.
#include "api/argument_misuse.hpp"
#include "api/check_merge_args.hpp"
#include "api/fake_machine.hpp"
#include "cuda/graph.hpp"
#include "cuda/stream.hpp"
#include "device/merge_params.cuh"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace kiln::api {
namespace {

using test::error_of;
using test::FakeContext;
using testing::AllOf;
using testing::HasSubstr;

/// Three states of 2 × 3 tokens with 5 heads, bf16, dense.
MergeArgs good_merge() {
  MergeArgs args;
  const auto out = Strides::bshd(3, 5, 128);
  const auto lse = Strides::bhsd(3, 5, 1);
  for (std::uintptr_t s = 0; s < 3; ++s) {
    args.states[s] = {{pointer(0x10000 * (s + 1)), out}, {device_list<float>(0x1004 * (s + 1)), lse}};
  }
  args.num_states = 3;
  args.out = {pointer(0x90000), out};
  args.lse = {static_cast<float*>(pointer(0xa0004)), lse};
  args.batch = 2;
  args.len = 3;
  args.heads = 5;
  return args;
}

using MergeMisuse = ArgumentMisuse<MergeArgs>;

class MergeMisuses : public testing::TestWithParam<MergeMisuse> {};

TEST_P(MergeMisuses, NameTheValueAndTheLimit) {
  auto args = good_merge();
  check({}, args);
  GetParam().change(args);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check({}, args); }),
              AllOf(HasSubstr(GetParam().value), HasSubstr(GetParam().limit)));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, MergeMisuses,
    testing::Values(
        MergeMisuse{"NoStates", [](auto& a) { a.num_states = 0; }, "num_states is 0", "from 1 to 16"},
        MergeMisuse{"NegativeStates", [](auto& a) { a.num_states = -1; }, "num_states is -1", "from 1 to 16"},
        MergeMisuse{"TooManyStates", [](auto& a) { a.num_states = 17; }, "num_states is 17", "several calls"},
        MergeMisuse{"StateThatIsNotThere", [](auto& a) { a.num_states = 4; }, "states[3].out is null", ""},
        MergeMisuse{"NullOut", [](auto& a) { a.out.data = nullptr; }, "out is null", ""},
        MergeMisuse{"NullStateLse", [](auto& a) { a.states[2].lse.data = nullptr; }, "states[2].lse is null", ""},
        MergeMisuse{"MisalignedState", [](auto& a) { a.states[1].out.data = pointer(0x20008); },
                    "states[1].out is 0x20008", "16 bytes"},
        MergeMisuse{"MisalignedStateLse", [](auto& a) { a.states[0].lse.data = device_list<float>(0x1002); },
                    "states[0].lse is 0x1002", "4 bytes"},
        MergeMisuse{"MisalignedLse", [](auto& a) { a.lse.data = static_cast<float*>(pointer(0xa0006)); },
                    "lse is 0xa0006", "4 bytes"},
        MergeMisuse{"StrideNotSixteenBytes", [](auto& a) { a.states[0].out.strides.head = 132; },
                    "states[0].out.strides.head is 132", "16 bytes"},
        MergeMisuse{"NegativeStride", [](auto& a) { a.states[0].out.strides.row = -640; },
                    "states[0].out.strides.row is -640", "0 or more"},
        MergeMisuse{"NegativeLseStride", [](auto& a) { a.states[1].lse.strides.head = -3; },
                    "states[1].lse.strides.head is -3", "0 or more"},
        MergeMisuse{"HugeLseStride", [](auto& a) { a.lse.strides.batch = std::int64_t{1} << 38; }, "lse.strides.batch",
                    "below 2^40 bytes"},
        MergeMisuse{"OutThatRepeats", [](auto& a) { a.out.strides.row = 0; }, "out.strides.row is 0", "written"},
        MergeMisuse{"LseThatRepeats", [](auto& a) { a.lse.strides.batch = 0; }, "lse.strides.batch is 0", "written"},
        MergeMisuse{"NegativeBatch", [](auto& a) { a.batch = -1; }, "batch is -1", "0 or more"},
        MergeMisuse{"NegativeLength", [](auto& a) { a.len = -2; }, "len is -2", "0 or more"},
        MergeMisuse{"HugeLength", [](auto& a) { a.len = std::numeric_limits<int>::max(); }, "len is 2147483647",
                    "1073741824"},
        MergeMisuse{"NoHeads", [](auto& a) { a.heads = 0; }, "heads is 0", "1 or more"},
        MergeMisuse{"TooManyRows",
                    [](auto& a) {
                      a.batch = 1 << 15;
                      a.len = 1 << 15;
                      a.heads = 2;
                    },
                    "2147483648 rows", "fewer than 2147483648"},
        MergeMisuse{"RowsBeyondAllNumbers", [](auto& a) { a.batch = a.len = a.heads = 1 << 30; },
                    "1152921504606846976 rows", "fewer than 2147483648"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(MergeArguments, WhatIsNotTouchedIsNotAskedFor) {
  auto args = good_merge();
  args.states[0].out.strides.batch = 0;  // the same state for every sequence
  args.states[0].lse.strides = {};
  check({}, args);
  args.lse.data = nullptr;
  args.lse.strides = {-1, -1, -1};
  check({}, args);
  args.batch = 1;
  args.out.strides.batch = -7;
  check({}, args);
  args = good_merge();
  args.len = 0;
  args.out.data = nullptr;
  args.states = {};
  check({}, args);
}

TEST(MergeArguments, StridesAreOfTheTypeTheyAreOf) {
  const MergeConfig config{.dtype = DType::f32, .out_dtype = DType::f16};
  auto args = good_merge();
  for (auto& state : args.states) state.out.strides.head = 132;  // 528 bytes
  check(config, args);
  args.out.strides.head = 132;
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { check(config, args); }),
              HasSubstr("out.strides.head is 132"));
}

using MergeLaunch = test::FakeMachine;

TEST_F(MergeLaunch, HandsOverWhatTheArgumentsSay) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto kernel = runtime.merge({});
  EXPECT_EQ(kernel.info().request, (KernelRequest{.kind = KernelKind::merge}));
  EXPECT_EQ(kernel.info().smem_bytes, 0);
  fake.set_params_bytes(sizeof(device::MergeParams));
  auto args = good_merge();
  args.states[2].lse.strides = {3, 1, 6};
  kernel.launch(nullptr, args);
  const auto launch = fake.launch();
  EXPECT_STREQ(launch.kernel, "kiln_merge");
  EXPECT_EQ(launch.grid[0], 4U) << "30 rows, 8 a block";
  EXPECT_EQ(launch.block[0], 128U);
  EXPECT_EQ(launch.smem_bytes, 0U);
  const auto params = fake.params<device::MergeParams>();
  EXPECT_EQ(params.states[0].o, args.states[0].out.data);
  EXPECT_EQ(params.states[2].lse, args.states[2].lse.data);
  EXPECT_EQ(params.states[2].lse_strides.head, 6);
  EXPECT_EQ(params.states[1].o_strides.batch, 3 * 5 * 128);
  EXPECT_EQ(params.states[3].o, nullptr);
  EXPECT_EQ(params.o, args.out.data);
  EXPECT_EQ(params.lse, args.lse.data);
  EXPECT_EQ(params.lse_strides.head, 3);
  EXPECT_EQ(params.count, 3);
  EXPECT_EQ(params.len, 3);
  EXPECT_EQ(params.heads, 5);
  EXPECT_EQ(params.rows, 30U);
  EXPECT_FLOAT_EQ(params.lse_to_log2 * params.lse_unit, 1);
  EXPECT_GT(params.lse_to_log2, 1);

  args.lse_base2 = true;
  runtime.launch(MergeConfig{}, nullptr, args);
  EXPECT_EQ(fake.params<device::MergeParams>().lse_to_log2, 1);
  EXPECT_EQ(fake.params<device::MergeParams>().lse_unit, 1);
  EXPECT_EQ(runtime.stats().launches, 2U);
  EXPECT_EQ(compiles(), 1);
}

TEST_F(MergeLaunch, OfNothingLaunchesNothing) {
  const FakeContext context(fake, 0);
  const auto kernel = Runtime(options()).merge({});
  auto args = good_merge();
  args.batch = 0;
  kernel.launch(nullptr, args);
  args = good_merge();
  args.len = 0;
  kernel.launch(nullptr, args);
  EXPECT_EQ(fake.launch_count(), 0);
}

TEST_F(MergeLaunch, KindsShareNoKernelAndConfigsNeither) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto bf16 = runtime.merge({}).info().kernel_id;
  EXPECT_NE(runtime.merge({.dtype = DType::f32}).info().kernel_id, bf16);
  EXPECT_NE(runtime.merge({.head_dim_v = 64}).info().kernel_id, bf16);
  EXPECT_NE(runtime.forward({}).info().kernel_id, bf16);
  EXPECT_EQ(compiles(), 4);
}

TEST_F(MergeLaunch, IsPreparedAndThenCapturedAsOneNode) {
  const FakeContext context(fake, 0);
  const auto driver = cuda::Driver::load(test::FakeCuda::path());
  const cuda::StreamHandle stream(driver);
  const Runtime runtime(options());
  {
    const cuda::StreamCapture capture(driver, stream.get());
    EXPECT_THAT(error_of(ErrorCode::capturing, [&] { runtime.launch(MergeConfig{}, stream.get(), good_merge()); }),
                AllOf(HasSubstr("merge bf16 d128"), HasSubstr("prepare")));
  }
  runtime.prepare(std::vector<KernelRequest>{{.kind = KernelKind::merge}});
  cuda::StreamCapture capture(driver, stream.get());
  runtime.launch(MergeConfig{}, stream.get(), good_merge());
  (void)capture.finish();
  EXPECT_EQ(fake.launch_count(), 1);
  EXPECT_EQ(fake.launch().captured, 1);
}

TEST_F(MergeLaunch, WithoutJitSaysHowToMakeTheKernel) {
  auto no_jit = options();
  no_jit.jit = false;
  const Runtime runtime(no_jit);
  EXPECT_THAT(error_of(ErrorCode::missing_kernel, [&] { (void)runtime.merge({.dtype = DType::f32}); }),
              AllOf(HasSubstr("merge f32 to bf16 d128"),
                    HasSubstr("kiln precompile --kind merge --dtype f32 --head-dim 128 --out-dtype bf16 --arch 90")));
}

}  // namespace
}  // namespace kiln::api
