// What an emulated call should give, said by a test: which keys a query sees, what becomes of its scores, and where the
// rows of sequences lie.
#pragma once

#include "device/emulator/tensors.hpp"

#include <functional>
#include <utility>
#include <vector>

namespace emulator {

/// What a test says of the call, beside the tensors.
struct Heads {
  int q;
  int kv;
  [[nodiscard]] int group() const { return q / kv; }
};

/// A score as it goes into the softmax, before the mask: of the dot product of query i and key j of sequence b.
using Score = std::function<double(int b, int head, int i, int j, double dot)>;
using Sees = std::function<bool(int b, int head, int i, int j)>;
/// Row of the tensor where row i of sequence b lies: its first index and its second.
using Place = std::function<std::pair<int, int>(int b, int i)>;

struct Truth {
  std::vector<int> len_q;
  std::vector<int> len_k;
  Heads heads;
  Place q_at;
  Place k_at;
  Score score;
  Sees sees;
  std::vector<double> sinks{};
  double scale = 0.125;
};

inline ReferenceRow row_of(const Truth& truth, const KernelFacts& kernel, Tensor& q, Tensor& k, Tensor& v, int b,
                           int head, int i) {
  const int kv_head = head / truth.heads.group();
  const int len_k = truth.len_k[static_cast<std::size_t>(b)];
  const auto [q_first, q_second] = truth.q_at(b, i);
  std::vector<double> scores(static_cast<std::size_t>(len_k), -kInf);
  double top = truth.sinks.empty() ? -kInf : truth.sinks[static_cast<std::size_t>(head)];
  for (int j = 0; j < len_k; ++j) {
    if (!truth.sees(b, head, i, j)) continue;
    const auto [k_first, k_second] = truth.k_at(b, j);
    double dot = 0;
    for (int c = 0; c < kernel.head_dim_qk; ++c)
      dot += q(q_first, q_second, head, c) * k(k_first, k_second, kv_head, c);
    scores[static_cast<std::size_t>(j)] = truth.score(b, head, i, j, dot);
    top = std::max(top, scores[static_cast<std::size_t>(j)]);
  }
  ReferenceRow result{std::vector<double>(static_cast<std::size_t>(kernel.head_dim_v), 0.0), -kInf};
  if (top == -kInf) return result;
  double sum = truth.sinks.empty() ? 0 : std::exp(truth.sinks[static_cast<std::size_t>(head)] - top);
  for (int j = 0; j < len_k; ++j) {
    const double p = std::exp(scores[static_cast<std::size_t>(j)] - top);
    if (p == 0) continue;
    sum += p;
    const auto [k_first, k_second] = truth.k_at(b, j);
    for (int c = 0; c < kernel.head_dim_v; ++c)
      result.o[static_cast<std::size_t>(c)] += p * v(k_first, k_second, kv_head, c);
  }
  for (double& x : result.o) x /= sum;
  result.lse = top + std::log(sum);
  return result;
}

}  // namespace emulator
