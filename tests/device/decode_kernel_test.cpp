// Decode kernels, run on the host, against float64.
#include "device/decode_workspace.cuh"
#include "device/emulator/barriers.hpp"
#include "device/emulator/tensors.hpp"
#include "device/mask.cuh"
#include "device/tile_schedule.cuh"

#include <gtest/gtest.h>

#include <numbers>
#include <optional>
#include <ostream>
#include <string>

namespace emulator {

extern const KernelFacts decode_bf16_d128;
extern const KernelFacts decode_f16_d40_88_window;
extern const KernelFacts decode_f16_d64_window;

namespace {

struct Case {
  std::string name;
  const KernelFacts* kernel;
  int heads_q;
  int heads_kv;
  int max_len_k;
  std::vector<int> lengths;  // one sequence each
  int splits;
  int left = -1;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

/// A decode call and its result. Cache rows beyond a sequence's length are NaN.
struct Call {
  explicit Call(const Case& problem)
      : c(problem),
        batch(static_cast<int>(c.lengths.size())),
        q(c.kernel->type, batch, 1, c.heads_q, c.kernel->head_dim_qk),
        k(c.kernel->type, batch, c.max_len_k, c.heads_kv, c.kernel->head_dim_qk),
        v(c.kernel->type, batch, c.max_len_k, c.heads_kv, c.kernel->head_dim_v),
        o(c.kernel->output, batch, 1, c.heads_q, c.kernel->head_dim_v),
        lse(static_cast<std::size_t>(batch * c.heads_q), NAN) {
    std::mt19937 random(11);
    for (int b = 0; b < batch; ++b) {
      q.fill(random, b, 1, c.heads_q);
      k.fill(random, b, length(b), c.heads_kv);
      v.fill(random, b, length(b), c.heads_kv);
    }
    const auto layout = kiln::device::decode_workspace(batch, c.heads_q, c.kernel->head_dim_v, c.splits);
    workspace.resize(static_cast<std::size_t>(layout.bytes) / sizeof(Chunk));
  }

  [[nodiscard]] int length(int b) const { return std::clamp(c.lengths[static_cast<std::size_t>(b)], 0, c.max_len_k); }

  void launch() {
    const auto layout = kiln::device::decode_workspace(batch, c.heads_q, c.kernel->head_dim_v, c.splits);
    char* base = reinterpret_cast<char*>(workspace.data());
    const kiln::device::DecodeParams params{.q = q.data(),
                                            .k = k.data(),
                                            .v = v.data(),
                                            .o = o.data(),
                                            .lse = lse.data(),
                                            .lengths = c.lengths.data(),
                                            .counters = reinterpret_cast<int*>(base + layout.counters),
                                            .partial_o = reinterpret_cast<float*>(base + layout.partial_o),
                                            .partial_lse = reinterpret_cast<float*>(base + layout.partial_lse),
                                            .q_strides = q.strides,
                                            .k_strides = k.strides,
                                            .v_strides = v.strides,
                                            .o_strides = o.strides,
                                            .batch = batch,
                                            .heads_q = c.heads_q,
                                            .heads_kv = c.heads_kv,
                                            .group = c.heads_q / c.heads_kv,
                                            .max_len_k = c.max_len_k,
                                            .splits = c.splits,
                                            .window_left = c.left,
                                            .scale_log2 = static_cast<float>(0.125 * std::numbers::log2e)};
    c.kernel->run(&params, kiln::device::decode_schedule(batch, c.heads_q, c.heads_kv, c.splits).blocks());
  }

  const Case& c;
  int batch;
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor o;
  std::vector<float> lse;
  std::vector<Chunk> workspace;
};

class DecodeKernel : public ::testing::TestWithParam<Case> {};

TEST_P(DecodeKernel, MatchesFloat64) {
  const Case& c = GetParam();
  Call call(c);
  call.launch();
  for (int b = 0; b < call.batch; ++b) {
    for (int h = 0; h < c.heads_q; ++h) {
      const int first = c.left < 0 ? 0 : std::max(call.length(b) - 1 - c.left, 0);
      const auto expected =
          reference_row(call.q, call.k, call.v, b, 0, h, h * c.heads_kv / c.heads_q, call.length(b),
                        c.kernel->head_dim_qk, c.kernel->head_dim_v, 0.125, [&](int j) { return j >= first; });
      const float lse = call.lse.at(static_cast<unsigned>(b * c.heads_q + h));
      ASSERT_NO_FATAL_FAILURE(expect_row(call.o, lse, expected, tolerance_of(*c.kernel), b, 0, h));
    }
  }
}

/// The counters are left at zero: a second call on the same workspace gives the same bits.
TEST_P(DecodeKernel, RepeatsOnItsWorkspace) {
  const Case& c = GetParam();
  Call call(c);
  call.launch();
  Tensor first = call.o;
  const std::vector<float> first_lse = call.lse;
  call.o = Tensor(c.kernel->output, call.batch, 1, c.heads_q, c.kernel->head_dim_v);
  call.lse.assign(call.lse.size(), NAN);
  call.launch();
  for (int b = 0; b < call.batch; ++b) {
    for (int h = 0; h < c.heads_q; ++h) {
      for (int i = 0; i < c.kernel->head_dim_v; ++i) ASSERT_EQ(call.o(b, 0, h, i), first(b, 0, h, i));
    }
  }
  EXPECT_EQ(call.lse, first_lse);
}

const auto* const bf16 = &decode_bf16_d128;
const auto* const window = &decode_f16_d64_window;

INSTANTIATE_TEST_SUITE_P(Emulated, DecodeKernel,
                         ::testing::Values(Case{"one_key", bf16, 1, 1, 1, {1}, 1},
                                           Case{"lengths_0_1_and_beyond", bf16, 4, 1, 130, {0, 1, -5, 9999, 64}, 3},
                                           Case{"gqa_3_split", bf16, 6, 2, 330, {330, 65, 128}, 4},
                                           Case{"mqa_20_two_row_tiles", bf16, 20, 1, 300, {300, 17}, 2},
                                           Case{"more_splits_than_tiles", bf16, 8, 1, 130, {130, 60}, 9},
                                           Case{"window_short", window, 2, 1, 400, {400, 63, 1, 0}, 3, 5},
                                           Case{"window_0", window, 2, 2, 200, {200, 193, 1}, 2, 0},
                                           Case{"window_across_tiles", window, 3, 1, 500, {500, 257}, 2, 200},
                                           Case{"window_open", window, 2, 1, 200, {200, 129}, 1},
                                           Case{"d40_88", &decode_f16_d40_88_window, 3, 1, 130, {130, 60}, 2, 90}),
                         [](const auto& test) { return test.param.name; });

TEST(DecodeKernelBarriers, NoneCanBeLeftOut) {
  const Case split{"split", bf16, 3, 1, 330, {330}, 2};
  expect_every_barrier_is_needed("attention/decode_sm80.cu", {[&] {
                                   Call call(split);
                                   call.launch();
                                   return call.o.bits();
                                 }});
}

}  // namespace
}  // namespace emulator
