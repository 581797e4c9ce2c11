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
constexpr int kNoPage = std::numeric_limits<std::int32_t>::max();  // what the suite puts where no page is to be read
constexpr std::int64_t kNowhere = -1;

/// Either kind of call: decode has more.
struct Call : ForwardArgs {
  const std::int32_t* cache_rows = nullptr;
  const std::int32_t* left_padding = nullptr;
  TreeMask tree{};
};

/// One sequence and head of a call.
class Head {
 public:
  Head(const AttentionConfig& config, const Call& args, Mistake mistake, int b, int head)
      : c_(config), a_(args), mistake_(mistake), b_(b), head_(head) {
    const SequenceLengths& lengths = args.lengths;
    len_q_ = cut(args.len_q, lengths.cu_seqlens_q, lengths.seqused_q);
    if (args.left_padding != nullptr && !has(Mistake::left_padding_ignored))
      padding_ = std::max(args.left_padding[b], 0);
    if (args.cache_rows != nullptr) row_ = has(Mistake::first_cache_row_for_all) ? 0 : args.cache_rows[b];
    len_k_ = row_ < 0 ? 0 : std::max(paged(cut(args.len_k, lengths.cu_seqlens_k, lengths.seqused_k)) - padding_, 0);
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

  /// Of so many keys, those that a list of pages has room for.
  [[nodiscard]] int paged(int keys) const {
    if (a_.pages.indptr == nullptr) return keys;
    const int pages = a_.pages.indptr[b_ + 1] - a_.pages.indptr[b_];
    const int size = a_.pages.page_size;
    const int in_last = has(Mistake::last_page_length_ignored) ? size : std::min(a_.pages.last_page_len[b_], size);
    return pages == 0 ? 0 : std::min(keys, (pages - 1) * size + in_last);
  }

  [[nodiscard]] std::int64_t query(const Strides& strides, int i) const {
    const std::int32_t* cu = a_.lengths.cu_seqlens_q;
    return (cu != nullptr ? (cu[b_] + i) * strides.row : b_ * strides.batch + i * strides.row) + head_ * strides.head;
  }

  [[nodiscard]] std::int64_t key(const Strides& strides, int j) const {
    const std::int64_t head = kv_head_ * strides.head;
    const int at = padding_ + j;
    if (c_.paged) {
      const int size = a_.pages.page_size;
      const std::int64_t first = a_.pages.indptr != nullptr ? a_.pages.indptr[b_] : row_ * a_.pages.row_stride;
      const std::int64_t page = a_.pages.table[first + at / size];
      return page == kNoPage ? kNowhere : head + page * strides.batch + at % size * strides.row;
    }
    const std::int32_t* cu = a_.lengths.cu_seqlens_k;
    return head + (cu != nullptr ? (cu[b_] + j) * strides.row : row_ * strides.batch + at * strides.row);
  }

  /// A GPU would fault where there is no page.
  [[nodiscard]] double load(const Input& tensor, std::int64_t row, int column) const {
    return row == kNowhere ? std::nan("") : static_cast<double>(load_element(c_.dtype, tensor.data, row + column));
  }

  [[nodiscard]] bool hidden(int i, int j) const {
    const int at = i + delta_ - (has(Mistake::diagonal_off_by_one) ? 1 : 0);
    if (has(Mistake::split_boundary_off_by_one) && j > 0 && j % kTile == 0) return true;
    if (on_other_branch(i, j)) return true;
    if (c_.causal && j > at) return true;
    if (c_.window == Window::none) return false;
    int left = c_.window == Window::fixed ? c_.window_left : a_.window_left;
    int right = c_.window == Window::fixed ? c_.window_right : a_.window_right;
    if (has(Mistake::window_sides_swapped)) std::swap(left, right);
    return (left >= 0 && j < i + delta_ - left) || (right >= 0 && j > i + delta_ + right);
  }

  [[nodiscard]] bool on_other_branch(int i, int j) const {
    const int token = j - (len_k_ - len_q_) - (has(Mistake::tree_bit_off_by_one) ? 1 : 0);
    if (a_.tree.words == nullptr || token < 0) return false;
    const std::uint32_t word = a_.tree.words[b_ * a_.tree.batch_stride + i * a_.tree.row_stride + token / 32];
    return (word >> token % 32) % 2 == 0;
  }

  [[nodiscard]] double score(int i, int j) const {
    const double scale = a_.scale ? *a_.scale : 1 / std::sqrt(static_cast<double>(c_.head_dim_qk));
    const std::int64_t q = query(a_.q.strides, i);
    const std::int64_t k = key(a_.k.strides, j);
    double s = 0;
    for (int c = 0; c < c_.head_dim_qk; ++c)
      s += static_cast<double>(load_element(c_.dtype, a_.q.data, q + c)) * load(a_.k, k, c);
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
    const bool has_tail =
        !c_.paged && a_.lengths.cu_seqlens_k == nullptr && a_.len_k > 1 && row_ >= 0 && padding_ + len_k_ <= a_.len_k;
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
    for (int c = 0; c < c_.head_dim_v; ++c) out[static_cast<std::size_t>(c)] += p * load(a_.v, v, c);
  }

  const AttentionConfig& c_;
  const Call& a_;
  Mistake mistake_;
  int b_;
  int head_;
  int kv_head_;
  int len_q_;
  int len_k_;
  int delta_;
  int padding_ = 0;
  std::int64_t row_ = b_;  ///< of the cache, or of the page table
};

void run(const AttentionConfig& config, const Call& call, Mistake mistake) {
  parallel_for(call.batch * call.heads_q,
               [&](int index) { Head(config, call, mistake, index / call.heads_q, index % call.heads_q).run(); });
}

}  // namespace

void plain_attention(const AttentionConfig& config, const ForwardArgs& args, Mistake mistake) {
  run(config, {args}, mistake);
}

void plain_attention(const AttentionConfig& config, const DecodeArgs& args, Mistake mistake) {
  run(config,
      {{.q = args.q,
        .k = args.k_cache,
        .v = args.v_cache,
        .out = args.out,
        .lse = args.lse,
        .batch = args.batch,
        .len_q = args.len_q,
        .len_k = args.max_len_k,
        .heads_q = args.heads_q,
        .heads_kv = args.heads_kv,
        .scale = args.scale,
        .window_left = args.window_left,
        .window_right = args.window_right,
        .lse_base2 = args.lse_base2,
        .softcap = args.softcap,
        .alibi_slopes = args.alibi_slopes,
        .alibi_batch_stride = args.alibi_batch_stride,
        .sinks = args.sinks,
        .bias = args.bias,
        .lengths = {.cu_seqlens_q = args.cu_seqlens_q,
                    .seqused_q = args.seqused_q,
                    .seqused_k = args.lengths,
                    .total_q = args.total_q},
        .pages = args.pages},
       args.cache_rows,
       args.left_padding,
       args.tree},
      mistake);
}

}  // namespace kiln::test
