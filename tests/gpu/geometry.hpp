#pragma once

#include "gpu/call_case.hpp"
#include "plan/kernel_config.hpp"
#include "support/random.hpp"

#include <array>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

/// What the lists of forward and decode cases are drawn from alike.
namespace kiln::test {

inline constexpr std::array kLayouts = {Layout::bshd, Layout::bhsd, Layout::packed, Layout::padded, Layout::broadcast};
inline constexpr std::array kPageSizes = {0, 1, 3, 5, 16, 64, 256};  // 0: no pages
inline constexpr std::array kBiases = {Bias::none, Bias::additive, Bias::mask};
inline constexpr std::array kCaps = {1.0F, 5.0F, 30.0F};
inline constexpr std::array kScales = {0.25F, -0.125F, 0.03F};
inline constexpr int kYesOrNo = 2;
/// So many neighbouring seeds of random cases share a kernel.
inline constexpr std::uint64_t kSeedsOfAKernel = 16;

template <class Range>
int count_of(const Range& range) {
  return static_cast<int>(range.size());
}

/// Draws what lists don't hold. All that a case is follows from the draws, so that a seed gives it again.
class Geometry {
 public:
  explicit Geometry(std::uint64_t seed) : draw_(seed) {}

  template <class Range>
  auto pick(const Range& range) {
    return draw_.pick(range);
  }
  int below(int bound) { return draw_.below(bound); }
  bool one_in(int count) { return draw_.below(count) == 0; }

  /// Of every magnitude, most below 2^bits.
  int length(int bits) {
    const int magnitude = one_in(16) ? bits + 2 : bits;
    return below(2 + below(1 << (1 + below(magnitude))));
  }
  int page_size() { return one_in(2) ? 1 + below(70) : 1 << below(9); }

  /// Every multiple of 8 up to 256, half of the time the same of q·k and v.
  void draw_head_dims(AttentionConfig& config) {
    constexpr int kStep = 8;
    constexpr int kSteps = 32;
    config.head_dim_qk = kStep * (1 + below(kSteps));
    config.head_dim_v = one_in(2) ? config.head_dim_qk : kStep * (1 + below(kSteps));
  }

  /// Windows, `sides` among them, what changes scores, and which results there are.
  template <class Case>
  void draw_features(Case& test, int len_k, std::span<const int> sides) {
    const AttentionConfig& config = test.config;
    if (config.window == Window::sliding) {
      test.window_left = side(len_k, sides);
      test.window_right = side(len_k, sides);
    }
    test.lse = !one_in(4);
    test.lse_base2 = test.lse && one_in(4);
    if (one_in(4)) test.scale = pick(kScales);
    if (config.softcap) test.softcap = pick(kCaps);
    if (config.alibi) test.slopes_per_sequence = one_in(2);
    if (config.bias != Bias::none) test.bias = {.batch = !one_in(3), .heads = !one_in(3), .rows = !one_in(3)};
  }

  /// As cu_seqlens, now and then with rows in front that no sequence has.
  std::vector<std::int32_t> sums(const std::vector<int>& counts) {
    std::vector<std::int32_t> cu = {one_in(3) ? 5 : 0};
    for (const int count : counts) cu.push_back(cu.back() + count);
    return cu;
  }
  /// Rows of the packed tensor: now and then more than sequences have.
  int total(const std::vector<std::int32_t>& cu) { return cu.back() + (one_in(4) ? 7 : 0); }
  /// What the kernel is to cut to what there is.
  int out_of_range() { return below(2) * 2'000'000'000 - 7; }

 private:
  int side(int len_k, std::span<const int> sides) { return one_in(2) ? pick(sides) : below(len_k + 2) - 1; }

  Draw draw_;
};

/// Fewer sequences, then fewer heads, until the reference, which computes on a CPU, has no more than `most` to do or
/// there are none to spare. What it has to do then.
template <class Case>
std::int64_t limit_work(Case& test, int& batch, int least_batch, int len_k, std::int64_t most) {
  const auto work = [&] {
    return std::int64_t{batch} * test.heads_q * test.len_q * len_k * (test.config.head_dim_qk + test.config.head_dim_v);
  };
  while (work() > most && batch > least_batch) --batch;
  const int group = test.heads_q / test.heads_kv;
  while (work() > most && test.heads_kv > 1) test.heads_q = group * --test.heads_kv;
  return work();
}

/// What cases ask a Runtime for, each once.
template <class Case>
std::vector<KernelRequest> distinct_requests(const std::vector<Case>& cases, KernelKind kind) {
  std::set<KernelRequest> requests;
  for (const Case& test : cases) requests.insert({kind, test.config});
  return {requests.begin(), requests.end()};
}

/// The kernels of some cases, each once.
template <class Case>
std::vector<KernelRequest> distinct_kernels(const std::vector<Case>& cases, KernelKind kind) {
  std::set<KernelRequest> kernels;
  for (const Case& test : cases) kernels.insert(plan::canonical({kind, test.config}));
  return {kernels.begin(), kernels.end()};
}

}  // namespace kiln::test
