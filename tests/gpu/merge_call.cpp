#include "gpu/merge_call.hpp"

#include "gpu/forward_case.hpp"
#include "support/element.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <ostream>
#include <span>

namespace kiln::test {
namespace {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

Shape shape_of(const MergeCase& test) { return {test.batch, test.len, test.heads, test.config.head_dim_v}; }

/// Of a row: the states' weights, which are 0 for empty ones, and the LSE; by the definition, in the type's arithmetic.
template <class Real>
struct Weights {
  std::vector<Real> of;
  Real lse;

  Weights(const std::vector<float>& lses, bool base2) : of(lses.size(), 0), lse(kMinusInf) {
    const Real unit = base2 ? std::numbers::ln2_v<Real> : Real{1};
    const Real top = *std::ranges::max_element(lses);
    if (top == -std::numeric_limits<Real>::infinity()) return;
    Real sum = 0;
    for (std::size_t s = 0; s < lses.size(); ++s) sum += of[s] = std::exp((static_cast<Real>(lses[s]) - top) * unit);
    for (Real& weight : of) weight /= sum;
    lse = top + std::log(sum) / unit;
  }
};

/// NaN, infinities and finite numbers are three kinds.
bool same_kind(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::isinf(a) || std::isinf(b) ? a == b : true;
}

}  // namespace

std::string name_of(const MergeCase& test) {
  const auto& config = test.config;
  std::string name =
      fmt::format("{}_{}_d{}_s{}_b{}_l{}_h{}_{}", name_of(config.dtype), name_of(config.out_dtype), config.head_dim_v,
                  test.states, test.batch, test.len, test.heads, to_string(test.layout));
  if (test.heads_first) name += "_heads";
  if (test.lse) name += "_lse";
  if (test.lse_base2) name += "_base2";
  if (test.in_place) name += "_inplace";
  if (test.seed != 0) name += fmt::format("_x{}", test.seed);
  return name;
}

void PrintTo(const MergeCase& test, std::ostream* out) { *out << name_of(test); }

std::vector<MergeCase> merge_cases() {
  constexpr std::array kTypes = {DType::f16, DType::bf16, DType::f32};
  constexpr std::array kDims = {8, 40, 64, 72, 128, 192, 256};
  constexpr std::array kStates = {1, 2, 2, 3, 4, 5, 8, 9, 16};
  constexpr std::array kSizes = {1, 2, 3, 5, 7, 17};
  constexpr std::array kLayouts = {Layout::bshd, Layout::bhsd, Layout::packed, Layout::padded};
  constexpr std::array kSpreads = {0.5F, 3.0F, 100.0F, 1e30F};
  std::vector<MergeCase> cases;
  Draw draw(seed_of("merge"));
  for (const DType dtype : kTypes) {
    for (const DType out : kTypes) {
      for (const int dim : kDims) {
        cases.push_back({.config = {.dtype = dtype, .out_dtype = out, .head_dim_v = dim},
                         .states = draw.pick(kStates),
                         .batch = draw.pick(kSizes),
                         .len = draw.pick(kSizes),
                         .heads = draw.pick(kSizes),
                         .layout = draw.pick(kLayouts),
                         .heads_first = draw.below(2) == 0,
                         .lse = draw.below(4) != 0,
                         .lse_base2 = draw.below(4) == 0,
                         .in_place = dtype == out && draw.below(2) == 0,
                         .spread = draw.pick(kSpreads),
                         .one_in_empty = draw.below(5)});
      }
    }
  }
  return cases;
}

MergeCall::MergeCall(const MergeCase& given)
    : test(given), out(test.config.out_dtype, test.layout, shape_of(test)), lse(rows()) {
  const std::uint64_t seed = seed_of(name_of(test));
  for (int s = 0; s < test.states; ++s) {
    const std::uint64_t of_state = seed + 10 * static_cast<std::uint64_t>(s);
    states.emplace_back(test.config.dtype, test.layout, shape_of(test));
    states.back().fill_random(of_state);
    lses.emplace_back(rows());
    for_each_row([&](int b, int i, int head) {
      const std::size_t at = lse_at(b, i, head);
      const bool empty =
          test.one_in_empty > 0 && mix(of_state + 1, at) % static_cast<std::uint64_t>(test.one_in_empty) == 0;
      lse_of(s, b, i, head) = empty ? kMinusInf : test.spread * normal(of_state + 2, at);
      for (int c = 0; empty && c < test.config.head_dim_v; ++c) states.back().put(b, i, head, c, kNan);
    });
  }
  out.fill(kNan);
}

template <class Visit>
void MergeCall::for_each_row(const Visit& visit) const {
  for (int b = 0; b < test.batch; ++b)
    for (int i = 0; i < test.len; ++i)
      for (int head = 0; head < test.heads; ++head) visit(b, i, head);
}

std::size_t MergeCall::rows() const {
  return static_cast<std::size_t>(test.batch) * static_cast<std::size_t>(test.len) *
         static_cast<std::size_t>(test.heads);
}

Strides MergeCall::lse_strides() const {
  if (test.heads_first) return {.batch = test.len, .row = 1, .head = std::int64_t{test.batch} * test.len};
  return Strides::bhsd(test.len, test.heads, 1);
}

std::size_t MergeCall::lse_at(int b, int i, int head) const {
  return static_cast<std::size_t>(View{nullptr, lse_strides()}.offset(b, i, head));
}

float& MergeCall::lse_of(int state, int b, int i, int head) {
  return lses[static_cast<std::size_t>(state)][lse_at(b, i, head)];
}

void MergeCall::upload() {
  truth_ = truth();
  device_lses_.clear();
  for (auto& state : states) state.upload();
  for (const auto& values : lses) {
    device_lses_.push_back(cuda::DeviceBuffer::of(Gpu::driver(), std::span<const float>(values)));
  }
  out.upload();
  lse.upload();
}

PartialState MergeCall::state(std::size_t index) const {
  return {states[index].input(), {device_lses_[index].as<float>(), lse_strides()}};
}

LseOutput MergeCall::lse_of_state(std::size_t index) const { return {device_lses_[index].as<float>(), lse_strides()}; }

MergeArgs MergeCall::args() const {
  MergeArgs call;
  for (std::size_t s = 0; s < std::min(states.size(), call.states.size()); ++s) call.states[s] = state(s);
  call.num_states = test.states;
  call.out = test.in_place ? states[0].output() : out.output();
  if (test.lse) call.lse = test.in_place ? lse_of_state(0) : LseOutput{lse.data(), lse_strides()};
  call.batch = test.batch;
  call.len = test.len;
  call.heads = test.heads;
  call.lse_base2 = test.lse_base2;
  return call;
}

void MergeCall::launch(Stream stream, const Runtime& runtime) const { runtime.launch(test.config, stream, args()); }

MergeTruth MergeCall::truth() const {
  MergeTruth result;
  double error = 0;
  double rounding = 0;
  const auto one_row = [&](int b, int i, int head) {
    std::vector<float> of_states;
    for (const auto& values : lses) of_states.push_back(values[lse_at(b, i, head)]);
    const Weights<double> exact(of_states, test.lse_base2);
    const Weights<float> naive(of_states, test.lse_base2);
    result.lse.push_back(exact.lse);
    for (int c = 0; c < test.config.head_dim_v; ++c) {
      double sum = 0;
      float naive_sum = 0;
      for (std::size_t s = 0; s < states.size(); ++s) {
        const float x = states[s].get(b, i, head, c);
        if (exact.of[s] != 0) sum += exact.of[s] * x;
        if (naive.of[s] != 0) naive_sum += naive.of[s] * x;
      }
      result.out.push_back(sum);
      error = std::max(error, std::abs(naive_sum - sum));
      const double shifted = round_to(test.config.out_dtype, static_cast<float>(sum + 0.3));
      rounding = std::max(rounding, std::abs(shifted - 0.3 - sum));
    }
  };
  for_each_row(one_row);
  result.allowed = 2 * error + 1e-5 + 2 * rounding;
  return result;
}

std::vector<float> MergeCall::written_lse() const {
  if (!test.in_place) return lse.download();
  std::vector<float> values(rows());
  device_lses_[0].download(std::as_writable_bytes(std::span(values)));
  return values;
}

::testing::AssertionResult MergeCall::matches_reference() {
  Gpu::synchronize();
  Tensor& result = written();
  result.download();
  if (!result.gaps_untouched()) return ::testing::AssertionFailure() << "written between rows: " << name_of(test);
  const std::vector<float> got_lse = test.lse ? written_lse() : std::vector<float>{};
  std::string wrong;
  std::size_t row = 0;
  const auto look_at = [&](const std::string& what, double got, double exact, double allowed) {
    const bool near = !std::isfinite(exact) || std::abs(got - exact) <= allowed;
    if (wrong.empty() && !(same_kind(got, exact) && near)) {
      wrong = fmt::format("{} = {}, reference {}, allowed {:.3g} off", what, got, exact, allowed);
    }
  };
  for_each_row([&](int b, int i, int head) {
    for (int c = 0; c < test.config.head_dim_v; ++c) {
      const double exact =
          truth_.out[row * static_cast<std::size_t>(test.config.head_dim_v) + static_cast<std::size_t>(c)];
      look_at(fmt::format("out[{}][{}][{}][{}]", b, i, head, c), result.get(b, i, head, c), exact, truth_.allowed);
    }
    const double lse_exact = truth_.lse[row++];
    if (test.lse) {
      look_at(fmt::format("lse[{}][{}][{}]", b, i, head), got_lse[lse_at(b, i, head)], lse_exact,
              1e-3 + 0x1p-20 * std::abs(lse_exact));
    }
  });
  if (!wrong.empty()) return ::testing::AssertionFailure() << wrong << "\n  " << name_of(test) << "\n  " << repro();
  return ::testing::AssertionSuccess();
}

std::vector<std::byte> MergeCall::result() {
  Gpu::synchronize();
  written().download();
  std::vector<std::byte> bits = written().elements();
  if (!test.lse) return bits;
  const std::vector<float> values = written_lse();
  const auto bytes = std::as_bytes(std::span(values));
  bits.insert(bits.end(), bytes.begin(), bytes.end());
  return bits;
}

}  // namespace kiln::test
