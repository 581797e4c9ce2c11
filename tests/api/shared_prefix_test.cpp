// Decode of a shared prefix: the three calls it makes, and what it refuses before the first.
#include "api/argument_misuse.hpp"
#include "api/fake_machine.hpp"
#include "device/decode_workspace.cuh"
#include "device/merge_params.cuh"
#include "support/expect_error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace kiln::api {
namespace {

using test::error_of;
using test::FakeContext;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::uintptr_t kWorkspace = 0x1000000;

/// Six sequences of three new tokens each, eight heads over two.
DecodeArgs good_args() {
  const auto cache = Strides::bshd(200, 2, 128);
  const auto q = Strides::bshd(3, 8, 128);
  return {.q = {pointer(0x1000), q},
          .k_cache = {pointer(0x2000), cache},
          .v_cache = {pointer(0x3000), cache},
          .out = {pointer(0x4000), q},
          .lse = static_cast<float*>(pointer(0x5000)),
          .lengths = device_list<std::int32_t>(0x6004),
          .batch = 6,
          .len_q = 3,
          .max_len_k = 200,
          .heads_q = 8,
          .heads_kv = 2};
}

SharedPrefix good_prefix() {
  const auto keys = Strides::bshd(0, 2, 128);
  return {.k = {pointer(0x7000), keys}, .v = {pointer(0x8000), keys}, .len = 5000};
}

class SharedPrefixTest : public test::FakeMachine {
 protected:
  /// With as much workspace as it asks for.
  static DecodeArgs with_workspace(const SharedPrefixDecode& decode, DecodeArgs args, const SharedPrefix& prefix) {
    args.workspace_bytes = decode.workspace_bytes(args, prefix);
    args.workspace = pointer(kWorkspace);
    return args;
  }
};

TEST_F(SharedPrefixTest, IsADecodeOfThePrefixOneOfTheRestAndAMerge) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto decode = runtime.shared_prefix_decode({.causal = true});
  const auto prefix = good_prefix();
  const auto args = with_workspace(decode, good_args(), prefix);
  fake.set_params_bytes(sizeof(device::DecodeParams));  // all three have as many
  decode.launch(nullptr, args, prefix);
  ASSERT_EQ(fake.launch_count(), 3);

  const auto shared = fake.params<device::DecodeParams>(0);
  EXPECT_EQ(shared.q, args.q.data);
  EXPECT_EQ(shared.k, prefix.k.data);
  EXPECT_EQ(shared.v, prefix.v.data);
  EXPECT_EQ(shared.batch, 1);
  EXPECT_EQ(shared.len_q, 18);
  EXPECT_EQ(shared.len_k, 5000);
  EXPECT_EQ(shared.q_strides.row, args.q.strides.row);
  EXPECT_EQ(shared.seqused_k, nullptr);
  EXPECT_EQ(shared.window_right, -1) << "every query sees the whole prefix";

  const auto own = fake.params<device::DecodeParams>(1);
  EXPECT_EQ(own.q, args.q.data);
  EXPECT_EQ(own.k, args.k_cache.data);
  EXPECT_EQ(own.batch, 6);
  EXPECT_EQ(own.len_q, 3);
  EXPECT_EQ(own.len_k, 200);
  EXPECT_EQ(own.seqused_k, args.lengths);
  EXPECT_EQ(own.window_right, 0) << "causal";
  EXPECT_EQ(own.counters, shared.counters) << "one after the other";

  EXPECT_STREQ(fake.launch(2).kernel, "kiln_merge");
  const auto first_bytes = fake.params<device::DecodeParams>(2);
  device::PartialState states[2];
  std::memcpy(static_cast<void*>(states), &first_bytes, sizeof(states));
  EXPECT_EQ(states[0].o, shared.o);
  EXPECT_EQ(states[0].lse, shared.lse);
  EXPECT_EQ(states[1].o, own.o);
  EXPECT_EQ(states[1].lse, own.lse);
  EXPECT_EQ(states[0].lse_strides.head, 18) << "one sequence's of 18 tokens";
  EXPECT_EQ(states[0].lse_strides.batch, 3);
  EXPECT_EQ(states[1].lse_strides.head, 3);
  EXPECT_EQ(states[1].lse_strides.batch, 3 * 8);
}

TEST_F(SharedPrefixTest, StatesLieBehindCountersWhateverTheCallAndEndWithTheWorkspace) {
  const FakeContext context(fake, 0);
  const Runtime runtime(options());
  const auto decode = runtime.shared_prefix_decode({});
  auto prefix = good_prefix();
  fake.set_params_bytes(sizeof(device::DecodeParams));
  for (const int len : {0, 60, 5000}) {
    prefix.len = len;
    const auto args = with_workspace(decode, good_args(), prefix);
    decode.launch(nullptr, args, prefix);
    const auto shared = fake.params<device::DecodeParams>(-3);
    const auto own = fake.params<device::DecodeParams>(-2);
    constexpr std::size_t kRows = 18 * 8;
    const auto* base = static_cast<const char*>(args.workspace);
    const auto* o = static_cast<const char*>(shared.o);
    EXPECT_GE(o - base, device::kMaxDecodeCounters * 4);
    EXPECT_EQ(static_cast<const char*>(own.o) - o, kRows * 128 * sizeof(float));
    EXPECT_EQ(reinterpret_cast<const char*>(own.lse) + kRows * sizeof(float) - base,
              static_cast<std::ptrdiff_t>(args.workspace_bytes));
  }
}

TEST_F(SharedPrefixTest, OneTokenOfEachSequenceMayLieAnywhere) {
  const FakeContext context(fake, 0);
  const auto decode = Runtime(options()).shared_prefix_decode({});
  const auto prefix = good_prefix();
  auto args = good_args();
  args.len_q = 1;
  args.q.strides = {.batch = 3 * 8 * 128, .row = -1, .head = 128};
  args = with_workspace(decode, args, prefix);
  fake.set_params_bytes(sizeof(device::DecodeParams));
  decode.launch(nullptr, args, prefix);
  EXPECT_EQ(fake.params<device::DecodeParams>(0).q_strides.row, 3 * 8 * 128);
  EXPECT_EQ(fake.params<device::DecodeParams>(0).len_q, 6);
}

TEST_F(SharedPrefixTest, PackedQueriesAreOneSequenceToThePrefix) {
  const FakeContext context(fake, 0);
  const auto decode = Runtime(options()).shared_prefix_decode({.causal = true, .sinks = true, .ragged = true});
  const auto prefix = good_prefix();
  auto args = good_args();
  args.cu_seqlens_q = device_list<std::int32_t>(0x6104);
  args.total_q = 11;
  args.sinks = device_list<float>(0x6204);
  args = with_workspace(decode, args, prefix);
  fake.set_params_bytes(sizeof(device::DecodeParams));
  decode.launch(nullptr, args, prefix);
  const auto shared = fake.params<device::DecodeParams>(0);
  EXPECT_EQ(shared.len_q, 11);
  EXPECT_EQ(shared.cu_seqlens_q, nullptr);
  EXPECT_EQ(shared.sinks, nullptr) << "a sink counts once";
  EXPECT_EQ(fake.params<device::DecodeParams>(1).sinks, args.sinks);
  EXPECT_EQ(fake.params<device::DecodeParams>(1).cu_seqlens_q, args.cu_seqlens_q);
}

TEST_F(SharedPrefixTest, PagesAndTheLengthOnTheDeviceReachTheKernels) {
  const FakeContext context(fake, 0);
  const auto decode = Runtime(options()).shared_prefix_decode({.paged = true});
  auto prefix = good_prefix();
  prefix.k.strides.batch = prefix.v.strides.batch = 16 * 2 * 128;
  prefix.page_table = device_list<std::int32_t>(0x7704);
  prefix.length = device_list<std::int32_t>(0x7804);
  auto args = good_args();
  args.k_cache.strides = args.v_cache.strides = Strides::bshd(16, 2, 128);
  args.pages = {.table = device_list<std::int32_t>(0x7304), .row_stride = 13, .page_size = 16};
  args = with_workspace(decode, args, prefix);
  fake.set_params_bytes(sizeof(device::DecodeParams));
  decode.launch(nullptr, args, prefix);
  const auto shared = fake.params<device::DecodeParams>(0);
  EXPECT_EQ(shared.page_table, prefix.page_table);
  EXPECT_EQ(shared.page.keys, 16U);
  EXPECT_EQ(shared.seqused_k, prefix.length);
  EXPECT_EQ(fake.params<device::DecodeParams>(1).page_table, args.pages.table);
}

TEST_F(SharedPrefixTest, OfNothingLaunchesNothing) {
  const FakeContext context(fake, 0);
  const auto decode = Runtime(options()).shared_prefix_decode({});
  auto args = good_args();
  args.batch = 0;
  EXPECT_EQ(decode.workspace_bytes(args, good_prefix()), 0U);
  decode.launch(nullptr, args, good_prefix());
  EXPECT_EQ(fake.launch_count(), 0);
}

struct BadConfig {
  const char* name;
  AttentionConfig config;
  const char* says;
};

class SharedPrefixConfigs : public SharedPrefixTest, public testing::WithParamInterface<BadConfig> {};

TEST_P(SharedPrefixConfigs, WithPositionsAreRefusedByName) {
  const Runtime runtime(options());
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { (void)runtime.shared_prefix_decode(GetParam().config); }),
              HasSubstr(GetParam().says));
  EXPECT_EQ(compiles(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, SharedPrefixConfigs,
    testing::Values(BadConfig{"Sliding", {.window = Window::sliding}, "a window is not supported"},
                    BadConfig{"Fixed", {.window = Window::fixed, .window_left = 7}, "a window is not supported"},
                    BadConfig{"Alibi", {.alibi = true}, "alibi is not supported"},
                    BadConfig{"Bias", {.bias = Bias::additive}, "a bias is not supported"},
                    BadConfig{"Mask", {.bias = Bias::mask}, "a bias is not supported"},
                    BadConfig{"TopLeft",
                              {.causal = true, .alignment = Alignment::top_left},
                              "causal with a top-left alignment is not supported"}),
    [](const auto& test) { return test.param.name; });

struct BadCall {
  const char* name;
  std::function<void(DecodeArgs&, SharedPrefix&)> change;
  std::string value;
  std::string limit;
};

class SharedPrefixMisuses : public SharedPrefixTest, public testing::WithParamInterface<BadCall> {};

TEST_P(SharedPrefixMisuses, NameTheValueAndLaunchNothing) {
  const FakeContext context(fake, 0);
  const auto decode = Runtime(options()).shared_prefix_decode({.ragged = true});
  auto prefix = good_prefix();
  auto args = with_workspace(decode, good_args(), prefix);
  GetParam().change(args, prefix);
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { decode.launch(nullptr, args, prefix); }),
              AllOf(HasSubstr(GetParam().value), HasSubstr(GetParam().limit)));
  EXPECT_EQ(fake.launch_count(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, SharedPrefixMisuses,
    testing::Values(
        BadCall{"NullPrefix", [](auto&, auto& p) { p.k.data = nullptr; }, "of the shared prefix", "k_cache is null"},
        BadCall{"PrefixLength", [](auto&, auto& p) { p.len = -1; }, "of the shared prefix", "max_len_k is -1"},
        BadCall{"MisalignedLength", [](auto&, auto& p) { p.length = device_list<std::int32_t>(0x9002); },
                "of the shared prefix", "lengths is 0x9002"},
        BadCall{"NullOwnCache", [](auto& a, auto&) { a.v_cache.data = nullptr; }, "v_cache is null", ""},
        BadCall{"NullOut", [](auto& a, auto&) { a.out.data = nullptr; }, "out is null", ""},
        BadCall{"MisalignedLse", [](auto& a, auto&) { a.lse = static_cast<float*>(pointer(0x5002)); }, "lse is 0x5002",
                "4 bytes"},
        BadCall{"NoWorkspace", [](auto& a, auto&) { a.workspace = nullptr; }, "workspace is null", ""},
        BadCall{"ShortWorkspace", [](auto& a, auto&) { --a.workspace_bytes; }, "workspace_bytes is",
                "SharedPrefixDecode::workspace_bytes"},
        BadCall{"QueriesApart", [](auto& a, auto&) { a.q.strides.batch += 128; }, "q.strides.batch is 3200",
                "len_q * q.strides.row, 3072"},
        BadCall{"QueriesUsed", [](auto& a, auto&) { a.seqused_q = device_list<std::int32_t>(0x9004); },
                "seqused_q is given", "cu_seqlens_q"},
        BadCall{"TooManyTokens",
                [](auto& a, auto&) {
                  a.batch = 1 << 16;
                  a.len_q = 1 << 16;
                },
                "4294967296 new tokens", "1073741824"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace kiln::api
