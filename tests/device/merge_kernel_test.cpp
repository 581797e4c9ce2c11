// Merging kernels, run on the host, against float64.
#include "device/emulator/barriers.hpp"
#include "device/emulator/tensors.hpp"
#include "device/merge_params.cuh"

#include <gtest/gtest.h>

#include <numbers>
#include <ostream>
#include <string>

namespace emulator {

extern const KernelFacts merge_bf16_d128;
extern const KernelFacts merge_f32_f16_d40;
extern const KernelFacts merge_f16_f32_d256;

namespace {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

struct Case {
  std::string name;
  const KernelFacts* kernel;
  int states;
  int batch = 2;
  int len = 3;
  int heads = 5;
  float spread = 3;  // of the LSEs
  float empty = 0;   // share of rows that a state has no key for
  bool in_place = false;
  bool heads_first = false;  // LSEs as [heads, batch · len] in place of [batch, heads, len]
  bool base2 = false;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

/// A merge and its result. Rows of states that are empty are NaN.
class Call {
 public:
  explicit Call(const Case& problem)
      : c(problem), result(c.kernel->output, c.batch, c.len, c.heads, c.kernel->head_dim_v), lse(rows(), NAN) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    std::uniform_real_distribution<float> uniform;
    for (int s = 0; s < c.states; ++s) {
      states.emplace_back(c.kernel->type, c.batch, c.len, c.heads, c.kernel->head_dim_v);
      lses.emplace_back(rows(), kMinusInf);
      for_rows([&](int b, int i, int h) {
        if (uniform(random) < c.empty) return;
        lse_of(s, b, i, h) = c.spread * normal(random);
        for (int column = 0; column < c.kernel->head_dim_v; ++column)
          states.back().set(b, i, h, column, normal(random));
      });
    }
  }

  template <class F>
  void for_rows(F f) const {
    for (int b = 0; b < c.batch; ++b)
      for (int i = 0; i < c.len; ++i)
        for (int h = 0; h < c.heads; ++h) f(b, i, h);
  }
  [[nodiscard]] std::size_t rows() const { return static_cast<std::size_t>(c.batch * c.len * c.heads); }
  [[nodiscard]] kiln::device::Strides lse_strides() const {
    if (c.heads_first) return {c.len, 1, 1LL * c.batch * c.len};
    return {1LL * c.heads * c.len, 1, c.len};
  }
  [[nodiscard]] std::size_t lse_at(int b, int i, int h) const {
    const auto strides = lse_strides();
    return static_cast<std::size_t>(b * strides.batch + i * strides.row + h * strides.head);
  }
  float& lse_of(int state, int b, int i, int h) { return lses[static_cast<std::size_t>(state)][lse_at(b, i, h)]; }
  /// What the kernel writes: the result's own memory, or that of state 0.
  Tensor& out() { return c.in_place ? states[0] : result; }
  std::vector<float>& out_lse() { return c.in_place ? lses[0] : lse; }

  void launch() {
    kiln::device::MergeParams params{};
    for (std::size_t s = 0; s < states.size(); ++s) {
      params.states[s] = {states[s].data(), lses[s].data(), states[s].strides, lse_strides()};
    }
    params.o = out().data();
    params.o_strides = out().strides;
    params.lse = out_lse().data();
    params.lse_strides = lse_strides();
    params.count = c.states;
    params.len = c.len;
    params.heads = c.heads;
    params.rows = static_cast<unsigned>(rows());
    params.lse_to_log2 = c.base2 ? 1 : std::numbers::log2e_v<float>;
    params.lse_unit = c.base2 ? 1 : std::numbers::ln2_v<float>;
    constexpr int kWarps = 4;
    const auto of_a_block = static_cast<unsigned>(kiln::device::merge_rows(c.kernel->head_dim_v, kWarps));
    c.kernel->run(&params, {kiln::device::ceil_div(params.rows, of_a_block)});
  }

  /// By the definition. Before launch(), which may write over a state.
  ReferenceRow truth(int b, int i, int h) {
    const double unit = c.base2 ? std::numbers::ln2 : 1;
    ReferenceRow row{std::vector<double>(static_cast<std::size_t>(c.kernel->head_dim_v), 0.0), -kInf};
    double top = -kInf;
    for (int s = 0; s < c.states; ++s) top = std::max(top, static_cast<double>(lse_of(s, b, i, h)) * unit);
    if (top == -kInf) return row;
    double sum = 0;
    for (int s = 0; s < c.states; ++s) {
      const double weight = std::exp(static_cast<double>(lse_of(s, b, i, h)) * unit - top);
      if (weight == 0) continue;
      sum += weight;
      for (std::size_t x = 0; x < row.o.size(); ++x) {
        row.o[x] += weight * states[static_cast<std::size_t>(s)](b, i, h, static_cast<int>(x));
      }
    }
    for (double& x : row.o) x /= sum;
    row.lse = (top + std::log(sum)) / unit;
    return row;
  }

  std::vector<ReferenceRow> truths() {
    std::vector<ReferenceRow> out;
    for_rows([&](int b, int i, int h) { out.push_back(truth(b, i, h)); });
    return out;
  }

  void expect_right(const std::vector<ReferenceRow>& expected) {
    std::size_t at = 0;
    for_rows([&](int b, int i, int h) {
      expect_row(out(), out_lse()[lse_at(b, i, h)], expected[at++], tolerance(), b, i, h);
    });
  }

  /// One rounding of the result, and of float32 some steps.
  [[nodiscard]] double tolerance() const {
    switch (c.kernel->output) {
      case Number::bf16:
        return 0x1p-8;
      case Number::f16:
        return 0x1p-11;
      case Number::f32:
        return 2e-6;
    }
    return 0;
  }

  const Case& c;
  std::vector<Tensor> states;
  std::vector<std::vector<float>> lses;
  Tensor result;
  std::vector<float> lse;
};

class MergeKernel : public ::testing::TestWithParam<Case> {};

TEST_P(MergeKernel, MatchesTheDefinition) {
  Call call(GetParam());
  const auto expected = call.truths();
  call.launch();
  call.expect_right(expected);
}

const KernelFacts* const bf16 = &merge_bf16_d128;
const KernelFacts* const f16 = &merge_f16_f32_d256;
const KernelFacts* const f32 = &merge_f32_f16_d40;

INSTANTIATE_TEST_SUITE_P(
    Emulated, MergeKernel,
    ::testing::Values(
        Case{.name = "two", .kernel = bf16, .states = 2},
        Case{.name = "two_with_empty_rows", .kernel = bf16, .states = 2, .empty = 0.4F},
        Case{.name = "one", .kernel = bf16, .states = 1, .empty = 0.2F},
        Case{.name = "most", .kernel = bf16, .states = 16, .batch = 1, .empty = 0.3F},
        Case{.name = "all_empty", .kernel = bf16, .states = 3, .empty = 1},
        Case{.name = "far_apart", .kernel = bf16, .states = 5, .spread = 1e30F},
        Case{.name = "in_place", .kernel = bf16, .states = 3, .empty = 0.2F, .in_place = true},
        Case{.name = "heads_first", .kernel = bf16, .states = 2, .heads_first = true},
        Case{.name = "base2", .kernel = f16, .states = 2, .base2 = true},
        Case{.name = "floats", .kernel = f16, .states = 7, .empty = 0.3F},
        Case{.name = "row", .kernel = f16, .states = 2, .batch = 1, .len = 1, .heads = 1},
        Case{.name = "narrow", .kernel = f32, .states = 5, .batch = 3, .len = 4, .heads = 7, .empty = 0.3F}),
    [](const auto& test) { return test.param.name; });

/// An empty state changes no bit of another: −inf is neutral.
TEST(MergeKernelStates, OneThatIsEmptyChangesNothing) {
  const Case two{.name = "", .kernel = bf16, .states = 2};
  for (const int whose : {0, 1}) {
    Call call(two);
    call.for_rows([&](int b, int i, int h) {
      call.lse_of(1 - whose, b, i, h) = kMinusInf;
      for (int x = 0; x < 128; ++x) call.states[static_cast<std::size_t>(1 - whose)].set(b, i, h, x, NAN);
    });
    call.launch();
    EXPECT_EQ(call.result.bits(), call.states[static_cast<std::size_t>(whose)].bits());
    EXPECT_EQ(call.lse, call.lses[static_cast<std::size_t>(whose)]);
  }
}

/// Infinite ones share all the weight; a NaN shows, be its state alone or not.
TEST(MergeKernelStates, InfiniteLsesShareTheWeightAndNanShows) {
  const Case five{.name = "", .kernel = f16, .states = 5, .batch = 1, .len = 1, .heads = 3};
  Call call(five);
  for (const int state : {1, 4}) call.lse_of(state, 0, 0, 0) = INFINITY;
  for (const int state : {0, 1, 2, 3, 4}) call.lse_of(state, 0, 0, 1) = state == 3 ? NAN : kMinusInf;
  call.lse_of(4, 0, 0, 2) = NAN;
  call.launch();
  for (int x = 0; x < 256; ++x) {
    EXPECT_NEAR(call.result(0, 0, 0, x), (call.states[1](0, 0, 0, x) + call.states[4](0, 0, 0, x)) / 2, 1e-6);
    EXPECT_TRUE(std::isnan(call.result(0, 0, 1, x)) && std::isnan(call.result(0, 0, 2, x)));
  }
  EXPECT_EQ(call.lse[0], INFINITY);
  EXPECT_TRUE(std::isnan(call.lse[1]) && std::isnan(call.lse[2]));
}

TEST(MergeKernelBarriers, NoneCanBeLeftOut) {
  const Case in_place{.name = "", .kernel = bf16, .states = 2, .in_place = true};
  expect_every_barrier_is_needed("attention/merge.cu", {[&] {
                                   Call call(in_place);
                                   call.launch();
                                   return call.out().bits();
                                 }});
}

}  // namespace
}  // namespace emulator
