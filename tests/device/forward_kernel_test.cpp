// Forward kernels, run on the host, against float64: fragment layouts, masks, the copy protocol and
// every bound are checked without a GPU.
#include "device/emulator/barriers.hpp"
#include "device/emulator/tensors.hpp"
#include "device/tile_schedule.cuh"

#include <gtest/gtest.h>

#include <numbers>
#include <ostream>
#include <string>

namespace emulator {

// forward_features_test.cpp
std::vector<std::uint16_t> output_of_a_paged_call();
std::vector<std::uint16_t> output_of_a_call_with_one_place();

extern const KernelFacts forward_f16_d64_full;
extern const KernelFacts forward_bf16_d64_causal;
extern const KernelFacts forward_bf16_d128_window;
extern const KernelFacts forward_f16_d64_128_causal_window;
extern const KernelFacts forward_bf16_d72_causal;
extern const KernelFacts forward_f16_d96;
extern const KernelFacts forward_bf16_d192_128_window;
extern const KernelFacts forward_f16_d256;
extern const KernelFacts forward_f16_d8_40;
extern const KernelFacts forward_f32_d64_causal;
extern const KernelFacts forward_f32_d72_40;
extern const KernelFacts forward_tf32_d32;
extern const KernelFacts forward_bf16_d48_output_f32;
extern const KernelFacts forward_sm75_d72;

namespace {

struct Case {
  std::string name;
  const KernelFacts* kernel;
  int batch;
  int heads_q;
  int heads_kv;
  int len_q;
  int len_k;
  int left = -1;
  int right = -1;
  double scale = 0.125;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class ForwardKernel : public ::testing::TestWithParam<Case> {};

kiln::device::ForwardSchedule schedule_of(const Case& c) {
  const KernelFacts& kernel = *c.kernel;
  return kiln::device::forward_schedule({.batch = c.batch,
                                         .heads_q = c.heads_q,
                                         .heads_kv = c.heads_kv,
                                         .len_q = c.len_q,
                                         .len_k = c.len_k,
                                         .key_bytes = (kernel.head_dim_qk + kernel.head_dim_v) * 2},
                                        kernel.tile_m);
}

kiln::device::ForwardParams params_of(const Case& c, Tensor& q, Tensor& k, Tensor& v, Tensor& o, float* lse) {
  const kiln::device::AttentionParams call{.q = q.data(),
                                           .k = k.data(),
                                           .v = v.data(),
                                           .o = o.data(),
                                           .lse = lse,
                                           .q_strides = q.strides,
                                           .k_strides = k.strides,
                                           .v_strides = v.strides,
                                           .o_strides = o.strides,
                                           .batch = c.batch,
                                           .heads_q = c.heads_q,
                                           .heads_kv = c.heads_kv,
                                           .group = c.heads_q / c.heads_kv,
                                           .len_q = c.len_q,
                                           .len_k = c.len_k,
                                           .window_left = c.left,
                                           .window_right = c.right,
                                           .scale_log2 = static_cast<float>(c.scale * std::numbers::log2e),
                                           .lse_unit = std::numbers::ln2_v<float>,
                                           .heads = kiln::device::pack_heads(c.heads_q / c.heads_kv, c.len_q)};
  return {call, schedule_of(c).bundle, schedule_of(c).row_tiles};
}

bool sees(const Case& c, int i, int j) {
  const KernelFacts& kernel = *c.kernel;
  const int at = i + (kernel.align_top_left ? 0 : c.len_k - c.len_q);
  if (kernel.causal && j > at) return false;
  if (kernel.sliding_window && c.left >= 0 && j < at - c.left) return false;
  return !kernel.sliding_window || c.right < 0 || j <= at + c.right;
}

void launch_case(const Case& c, Tensor& q, Tensor& k, Tensor& v, Tensor& o, float* lse) {
  const auto params = params_of(c, q, k, v, o, lse);
  c.kernel->run(&params, {static_cast<unsigned>(schedule_of(c).blocks())});
}

/// A forward call and its result.
struct Call {
  explicit Call(const Case& c)
      : q(c.kernel->type, c.batch, c.len_q, c.heads_q, c.kernel->head_dim_qk),
        k(c.kernel->type, c.batch, c.len_k, c.heads_kv, c.kernel->head_dim_qk),
        v(c.kernel->type, c.batch, c.len_k, c.heads_kv, c.kernel->head_dim_v),
        o(c.kernel->output, c.batch, c.len_q, c.heads_q, c.kernel->head_dim_v),
        lse(static_cast<std::size_t>(c.batch * c.heads_q * c.len_q), NAN) {
    std::mt19937 random(7);
    for (int b = 0; b < c.batch; ++b) {
      q.fill(random, b, c.len_q, c.heads_q);
      k.fill(random, b, c.len_k, c.heads_kv);
      v.fill(random, b, c.len_k, c.heads_kv);
    }
    launch_case(c, q, k, v, o, lse.data());
  }

  Tensor q;
  Tensor k;
  Tensor v;
  Tensor o;
  std::vector<float> lse;
};

TEST_P(ForwardKernel, MatchesFloat64) {
  const Case& c = GetParam();
  const KernelFacts& kernel = *c.kernel;
  Call call(c);
  for (int b = 0; b < c.batch; ++b) {
    for (int h = 0; h < c.heads_q; ++h) {
      for (int i = 0; i < c.len_q; ++i) {
        const auto expected =
            reference_row(call.q, call.k, call.v, b, i, h, h * c.heads_kv / c.heads_q, c.len_k, kernel.head_dim_qk,
                          kernel.head_dim_v, c.scale, [&](int j) { return sees(c, i, j); });
        const auto at = static_cast<unsigned>((b * c.heads_q + h) * c.len_q + i);
        ASSERT_NO_FATAL_FAILURE(expect_row(call.o, call.lse[at], expected, tolerance_of(kernel), b, i, h));
      }
    }
  }
}

const auto* const full = &forward_f16_d64_full;
const auto* const causal = &forward_bf16_d64_causal;
const auto* const window = &forward_bf16_d128_window;
const auto* const causal_window = &forward_f16_d64_128_causal_window;

INSTANTIATE_TEST_SUITE_P(Emulated, ForwardKernel,
                         ::testing::Values(Case{"one_query_one_key", full, 1, 1, 1, 1, 1},  //
                                           Case{"no_keys", full, 1, 2, 1, 5, 0},            //
                                           Case{"whole_tiles", full, 1, 1, 1, 128, 128},    //
                                           Case{"gqa_3_ragged_tiles", full, 2, 3, 1, 33, 65},
                                           Case{"two_query_tiles", full, 1, 1, 1, 129, 40},
                                           Case{"heads_packed_over_tiles", causal, 1, 6, 2, 50, 90},
                                           Case{"negative_scale", full, 1, 1, 1, 17, 70, -1, -1, -0.125},
                                           Case{"scale_0", full, 1, 1, 1, 17, 70, -1, -1, 0.0},
                                           Case{"causal_square", causal, 1, 2, 2, 113, 113},
                                           Case{"causal_more_keys", causal, 1, 2, 1, 70, 203},
                                           Case{"causal_rows_without_keys", causal, 1, 1, 1, 150, 40},
                                           Case{"window_open", window, 1, 1, 1, 70, 70, -1, -1},
                                           Case{"window_0_0", window, 1, 1, 1, 65, 65, 0, 0},
                                           Case{"window_left_40_right_3", window, 1, 2, 2, 130, 150, 40, 3},
                                           Case{"window_right_only", window, 1, 1, 1, 64, 20, -1, 7},
                                           Case{"window_beyond_keys", window, 1, 1, 1, 100, 20, 5, 2},
                                           Case{"top_left_causal_window", causal_window, 1, 2, 1, 90, 120, 50, -1},
                                           Case{"top_left_rows_without_keys", causal_window, 1, 1, 1, 120, 33, 9, 4}),
                         [](const auto& test) { return test.param.name; });

/// Head dims whose rows need padding, several panels of copies, or other numbers of both.
INSTANTIATE_TEST_SUITE_P(EmulatedHeadDims, ForwardKernel,
                         ::testing::Values(Case{"d72", &forward_bf16_d72_causal, 1, 2, 1, 70, 101},
                                           Case{"d72_whole_tiles", &forward_bf16_d72_causal, 1, 1, 1, 64, 64},
                                           Case{"d72_negative_scale", &forward_bf16_d72_causal, 1, 1, 1, 33, 64, -1, -1,
                                                -0.125},
                                           Case{"d96", &forward_f16_d96, 1, 2, 2, 65, 150},
                                           Case{"d192_128", &forward_bf16_d192_128_window, 1, 1, 1, 40, 70, 30, 2},
                                           Case{"d256", &forward_f16_d256, 1, 1, 1, 33, 40, -1, -1, 0.0625},
                                           Case{"d8_40", &forward_f16_d8_40, 2, 1, 1, 65, 67}),
                         [](const auto& test) { return test.param.name; });

/// Other types, of the inputs or of the output, and other instructions.
INSTANTIATE_TEST_SUITE_P(EmulatedElements, ForwardKernel,
                         ::testing::Values(Case{"f32", &forward_f32_d64_causal, 1, 2, 1, 130, 150},
                                           Case{"f32_whole_tiles", &forward_f32_d64_causal, 1, 1, 1, 64, 96},
                                           Case{"f32_negative_scale", &forward_f32_d64_causal, 1, 1, 1, 33, 64, -1, -1,
                                                -0.125},
                                           Case{"f32_d72_40", &forward_f32_d72_40, 2, 2, 2, 50, 77},
                                           Case{"tf32", &forward_tf32_d32, 1, 1, 1, 40, 70},
                                           Case{"output_f32", &forward_bf16_d48_output_f32, 2, 2, 1, 50, 77},
                                           Case{"output_f32_no_keys", &forward_bf16_d48_output_f32, 1, 1, 1, 20, 0},
                                           Case{"sm75", &forward_sm75_d72, 1, 2, 1, 130, 150},
                                           Case{"sm75_whole_tiles", &forward_sm75_d72, 1, 1, 1, 64, 96}),
                         [](const auto& test) { return test.param.name; });

TEST(ForwardKernelBarriers, NoneCanBeLeftOut) {
  const Case q_in_registers{"q_in_registers", full, 1, 1, 1, 128, 192};
  const Case q_in_memory{"q_in_memory", window, 1, 1, 1, 64, 40};
  const Case other_dim_of_v{"other_dim_of_v", causal_window, 1, 1, 1, 32, 0};
  std::vector<Launch> launches;
  for (const Case& c : {q_in_registers, q_in_memory, other_dim_of_v}) {
    launches.push_back([c] { return Call(c).o.bits(); });
  }
  launches.push_back(output_of_a_paged_call);
  launches.push_back(output_of_a_call_with_one_place);
  expect_every_barrier_is_needed("attention/forward_sm80.cu", launches);
}

/// One key whose score is huge gets exactly its weight of 1, and nothing overflows.
TEST(ForwardKernelScores, OneHugeScoreGivesExactlyV) {
  for (const float magnitude : {-2.0f, 2.0f}) {
    const Case c{"huge", full, 1, 1, 1, 3, 1};
    std::mt19937 random(3);
    Tensor q(Number::f16, 1, 3, 1, 64);
    Tensor k(Number::f16, 1, 1, 1, 64);
    Tensor v(Number::f16, 1, 1, 1, 64);
    Tensor o(Number::f16, 1, 3, 1, 64);
    v.fill(random, 0, 1, 1);
    for (int i = 0; i < 64; ++i) {
      k.set(0, 0, 0, i, 4097.0f);
      for (int row = 0; row < 3; ++row) q.set(0, row, 0, i, magnitude * static_cast<float>(row + 1));
    }
    std::vector<float> lse(3);
    launch_case(c, q, k, v, o, lse.data());
    for (int row = 0; row < 3; ++row) {
      for (int i = 0; i < 64; ++i) ASSERT_EQ(o(0, row, 0, i), v(0, 0, 0, i));
    }
  }
}

/// Without keys at all the result doesn't depend on memory that is not there.
TEST(ForwardKernelScores, LseMayBeLeftOut) {
  const Case c{"no lse", causal, 1, 1, 1, 20, 20};
  std::mt19937 random(3);
  Tensor q(Number::bf16, 1, 20, 1, 64);
  Tensor k(Number::bf16, 1, 20, 1, 64);
  Tensor v(Number::bf16, 1, 20, 1, 64);
  Tensor o(Number::bf16, 1, 20, 1, 64);
  q.fill(random, 0, 20, 1);
  k.fill(random, 0, 20, 1);
  v.fill(random, 0, 20, 1);
  launch_case(c, q, k, v, o, nullptr);
  EXPECT_NEAR(o(0, 0, 0, 5), v(0, 0, 0, 5), 1e-6);
}

}  // namespace
}  // namespace emulator
