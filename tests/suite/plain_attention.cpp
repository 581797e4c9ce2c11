#include "suite/plain_attention.hpp"

#include "support/element.hpp"
#include "support/parallel.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace kiln::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr int kTile = 64;

/// One sequence and head of a call.
class Head {
 public:
  Head(const AttentionConfig& config, const ForwardArgs& args, Mistake mistake, int b, int head)
      : c_(config), a_(args), mistake_(mistake), b_(b), head_(head) {
    const SequenceLengths& lengths = args.lengths;
    len_q_ = cut(args.len_q, lengths.cu_seqlens_q, lengths.seqused_q);
    len_k_ = cut(args.len_k, lengths.cu_seqlens_k, lengths.seqused_k);
    delta_ = config.alignment == Alignment::top_left ? 0 : len_k_ - len_q_;
    const int group = args.heads_q / args.heads_kv;
    kv_head_ = mistake == Mistake::heads_by_modulo ? head % args.heads_kv : head / group;
  }

  void run() const {
    for (int i = 0; i < len_q_; ++i) row(i);
  }

 private:
  [[nodiscard]] bool has(Mistake mistake) const { return mistake_ == mistake; }

  [[nodiscard]] int cut(int most, const std::int32_t* cu, const std::int32_t* used) const {
    int rows = most;
    if (cu != nullptr) rows = std::min(rows, cu[b_ + 1] - cu[b_]);
    if (used != nullptr) rows = std::min(rows, used[b_]);
    return std::max(rows, 0);
  }

  [[nodiscard]] std::int64_t query(const Strides& strides, int i) const {
    const std::int32_t* cu = a_.lengths.cu_seqlens_q;
    return (cu != nullptr ? (cu[b_] + i) * strides.row : b_ * strides.batch + i * strides.row) + head_ * strides.head;
  }

  [[nodiscard]] std::int64_t key(const Strides& strides, int j) const {
    const std::int64_t head = kv_head_ * strides.head;
    if (c_.paged) {
      const int size = a_.pages.page_size;
      const int page = a_.pages.table[b_ * a_.pages.row_stride + j / size];
      return head + page * strides.batch + j % size * strides.row;
    }
    const std::int32_t* cu = a_.lengths.cu_seqlens_k;
    return head + (cu != nullptr ? (cu[b_] + j) * strides.row : b_ * strides.batch + j * strides.row);
  }

  [[nodiscard]] bool hidden(int i, int j) const {
    const int at = i + delta_ - (has(Mistake::diagonal_off_by_one) ? 1 : 0);
    if (c_.causal && j > at) return true;
    if (c_.window == Window::none) return false;
    int left = c_.window == Window::fixed ? c_.window_left : a_.window_left;
    int right = c_.window == Window::fixed ? c_.window_right : a_.window_right;
    if (has(Mistake::window_sides_swapped)) std::swap(left, right);
    return (left >= 0 && j < i + delta_ - left) || (right >= 0 && j > i + delta_ + right);
  }

  [[nodiscard]] double score(int i, int j) const {
    const double scale = a_.scale ? *a_.scale : 1 / std::sqrt(static_cast<double>(c_.head_dim_qk));
    const std::int64_t q = query(a_.q.strides, i);
    const std::int64_t k = key(a_.k.strides, j);
    double s = 0;
    for (int c = 0; c < c_.head_dim_qk; ++c)
      s += static_cast<double>(load_element(c_.dtype, a_.q.data, q + c)) * load_element(c_.dtype, a_.k.data, k + c);
    s *= scale;
    const bool late = has(Mistake::softcap_after_mask);
    if (late && hidden(i, j)) s = -kInf;
    if (c_.softcap) s = a_.softcap * std::tanh(s / static_cast<double>(a_.softcap));
    if (c_.alibi) {
      const int at = i + (has(Mistake::alibi_without_delta) ? 0 : delta_);
      s -= static_cast<double>(a_.alibi_slopes[b_ * a_.alibi_batch_stride + head_]) * std::abs(at - j);
    }
    const Strides& strides = a_.bias.strides;
    const std::int64_t bias = b_ * strides.batch + head_ * strides.head + i * strides.row + j;
    if (c_.bias == Bias::additive) s += load_element(c_.dtype, a_.bias.data, bias);
    if (c_.bias == Bias::mask && static_cast<const std::uint8_t*>(a_.bias.data)[bias] == 0) s = -kInf;
    return !late && hidden(i, j) ? -kInf : s;
  }

  void row(int i) const {
    std::vector<double> scores;
    for (int j = 0; j < len_k_; ++j) scores.push_back(score(i, j));
    const double sink = c_.sinks ? static_cast<double>(a_.sinks[head_]) : -kInf;
    const int absent = has(Mistake::last_tile_unmasked) ? (kTile - len_k_ % kTile) % kTile : 0;
    double most = absent > 0 ? std::max(sink, 0.0) : sink;
    for (const double s : scores) most = std::max(most, s);
    const bool empty = most == -kInf;
    const auto weight = [&](double s) { return empty ? 0 : std::exp(s - most); };
    double sum = (has(Mistake::sink_counted_twice) ? 2 : 1) * weight(sink);
    if (absent > 0) sum += absent * weight(0);
    std::vector<double> out(static_cast<std::size_t>(c_.head_dim_v));
    for (int j = 0; j < len_k_; ++j) {
      const double p = weight(scores[static_cast<std::size_t>(j)]);
      sum += p;
      if (p > 0) add_value(out, j, p);
    }
    const bool has_tail = !c_.paged && a_.lengths.cu_seqlens_k == nullptr && a_.len_k > 1;
    if (has(Mistake::value_tail_read) && has_tail) add_value(out, len_k_, 0);
    const DType type = output_type(c_);
    const std::int64_t place = query(a_.out.strides, i);
    for (int c = 0; c < c_.head_dim_v; ++c)
      store_element(type, a_.out.data, place + c,
                    static_cast<float>(out[static_cast<std::size_t>(c)] / (sum == 0 ? 1 : sum)));
    if (a_.lse == nullptr) return;
    double lse = most + std::log(sum);
    if (empty) lse = has(Mistake::empty_lse_zero) ? 0 : -kInf;
    if (a_.lse_base2) lse *= std::numbers::log2e;
    const std::int32_t* cu = a_.lengths.cu_seqlens_q;
    const std::int64_t rows = cu != nullptr ? a_.lengths.total_q : a_.len_q;
    const std::int64_t first = cu != nullptr ? cu[b_] : std::int64_t{b_} * a_.heads_q * a_.len_q;
    a_.lse[first + head_ * rows + i] = static_cast<float>(lse);
  }

  void add_value(std::vector<double>& out, int j, double p) const {
    const std::int64_t v = key(a_.v.strides, j);
    for (int c = 0; c < c_.head_dim_v; ++c)
      out[static_cast<std::size_t>(c)] += p * static_cast<double>(load_element(c_.dtype, a_.v.data, v + c));
  }

  const AttentionConfig& c_;
  const ForwardArgs& a_;
  Mistake mistake_;
  int b_;
  int head_;
  int kv_head_;
  int len_q_;
  int len_k_;
  int delta_;
};

}  // namespace

void plain_attention(const AttentionConfig& config, const ForwardArgs& args, Mistake mistake) {
  parallel_for(args.batch * args.heads_q,
               [&](int index) { Head(config, args, mistake, index / args.heads_q, index % args.heads_q).run(); });
}

}  // namespace kiln::test
