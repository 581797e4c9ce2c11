#include "support/reference.hpp"

#include "support/element.hpp"
#include "support/parallel.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace kiln::test {
namespace {

/// Of `most` rows, those that a sequence has.
int rows_of(int most, const std::vector<std::int32_t>& cu_seqlens, const std::vector<std::int32_t>& used,
            int sequence) {
  const auto b = static_cast<std::size_t>(sequence);
  int rows = most;
  if (!cu_seqlens.empty()) rows = std::min(rows, cu_seqlens[b + 1] - cu_seqlens[b]);
  if (!used.empty()) rows = std::min(rows, used[b]);
  return std::max(rows, 0);
}

/// Where the query stands among the keys, less its own number.
int delta(const Problem& problem, Lengths lengths) {
  return problem.config.alignment == Alignment::bottom_right ? lengths.k - lengths.q : 0;
}

struct Sides {
  int left = -1;
  int right = -1;
};

Sides window_of(const Problem& problem) {
  switch (problem.config.window) {
    case Window::none:
      break;
    case Window::sliding:
      return {problem.window_left, problem.window_right};
    case Window::fixed:
      return {problem.config.window_left, problem.config.window_right};
  }
  return {};
}

}  // namespace

int Problem::queries_of(int sequence) const { return rows_of(len_q, cu_seqlens_q, lengths_q, sequence); }
int Problem::keys_of(int sequence) const {
  const auto b = static_cast<std::size_t>(sequence);
  if (!cache_rows.empty() && cache_rows[b] < 0) return 0;
  std::int64_t end = rows_of(len_k, cu_seqlens_k, lengths, sequence);
  if (!page_indptr.empty()) {
    const std::int64_t pages = page_indptr[b + 1] - page_indptr[b];
    end = pages > 0 ? std::min(end, (pages - 1) * page_size + std::min(last_page_len[b], page_size)) : 0;
  }
  return static_cast<int>(std::max<std::int64_t>(end - padding_of(sequence), 0));
}

int Problem::padding_of(int sequence) const {
  return left_padding.empty() ? 0 : std::max(left_padding[static_cast<std::size_t>(sequence)], 0);
}

std::int64_t Problem::cache_row_of(int sequence) const {
  return cache_rows.empty() ? sequence : cache_rows[static_cast<std::size_t>(sequence)];
}

std::size_t Problem::page_entry(int sequence, int position) const {
  const std::int64_t first =
      page_indptr.empty() ? cache_row_of(sequence) * page_row_stride : page_indptr[static_cast<std::size_t>(sequence)];
  return static_cast<std::size_t>(first + position / page_size);
}

std::int64_t Problem::query_offset(const View& tensor, int sequence, int i, int head) const {
  if (cu_seqlens_q.empty()) return tensor.offset(sequence, i, head);
  return tensor.offset(0, cu_seqlens_q[static_cast<std::size_t>(sequence)] + i, head);
}

std::int64_t Problem::key_offset(const View& tensor, int sequence, int j, int kv_head) const {
  const int position = padding_of(sequence) + j;
  if (!page_table.empty()) {
    return tensor.offset(page_table[page_entry(sequence, position)], position % page_size, kv_head);
  }
  if (cu_seqlens_k.empty()) return tensor.offset(cache_row_of(sequence), position, kv_head);
  return tensor.offset(0, cu_seqlens_k[static_cast<std::size_t>(sequence)] + j, kv_head);
}

std::size_t Problem::rows() const {
  if (!cu_seqlens_q.empty()) return static_cast<std::size_t>(total_q);
  return static_cast<std::size_t>(batch) * static_cast<std::size_t>(len_q);
}

bool visible(const Problem& problem, int i, int j, Lengths lengths) {
  const int d = delta(problem, lengths);
  const auto [left, right] = window_of(problem);
  if (j < 0 || j >= lengths.k) return false;
  if (problem.config.causal && j > i + d) return false;
  if (left >= 0 && j < i + d - left) return false;
  return right < 0 || j <= i + d + right;
}

bool in_tree(const Problem& problem, int sequence, int i, int j, Lengths lengths) {
  const int token = j - (lengths.k - lengths.q);
  if (problem.tree.empty() || token < 0) return true;
  constexpr int kBits = 32;
  const std::int64_t word = sequence * problem.tree_batch_stride + i * problem.tree_row_stride + token / kBits;
  return (problem.tree[static_cast<std::size_t>(word)] >> (token % kBits) & 1U) != 0;
}

KeyRange visible_keys(const Problem& problem, int i, Lengths lengths) {
  const int at = i + delta(problem, lengths);
  const auto [left, right] = window_of(problem);
  int begin = 0;
  int end = lengths.k;
  if (problem.config.causal) end = std::min(end, at + 1);
  if (left >= 0) begin = std::max(begin, at - left);
  if (right >= 0) end = std::min(end, at + right + 1);
  return begin < end ? KeyRange{begin, end} : KeyRange{0, 0};
}

std::size_t Result::out_at(const Problem& problem, int b, int i, int head) const {
  const auto strides = Strides::bshd(problem.len_q, problem.heads_q, problem.config.head_dim_v);
  return static_cast<std::size_t>(problem.query_offset({nullptr, strides}, b, i, head));
}

std::size_t Result::lse_at(const Problem& problem, int b, int i, int head) const {
  const auto strides = problem.cu_seqlens_q.empty() ? Strides::bhsd(problem.len_q, problem.heads_q, 1)
                                                    : Strides::bhsd(problem.total_q, problem.heads_q, 1);
  return static_cast<std::size_t>(problem.query_offset({nullptr, strides}, b, i, head));
}

namespace {

// How exactly each number is kept: what a product takes, what stands between steps, and a probability.

struct InFloat64 {
  using Real = double;
  [[nodiscard]] double input(double x) const { return x; }
  [[nodiscard]] double step(double x) const { return x; }
  [[nodiscard]] double weight(double x) const { return x; }
};

struct InFloat32 {
  using Real = float;
  [[nodiscard]] float input(float x) const { return x; }
  [[nodiscard]] float step(float x) const { return x; }
  [[nodiscard]] float weight(float x) const { return x; }
};

struct InTf32 {
  using Real = float;
  [[nodiscard]] float input(float x) const { return to_tf32(x); }
  [[nodiscard]] float step(float x) const { return x; }
  [[nodiscard]] float weight(float x) const { return to_tf32(x); }
};

template <DType kDType>
struct In16 {
  using Real = float;
  [[nodiscard]] float input(float x) const { return x; }
  [[nodiscard]] float step(float x) const { return round_16(kDType, x); }
  [[nodiscard]] float weight(float x) const { return round_16(kDType, x); }
};

/// Index of [row][column].
std::size_t at(int row, int width, int column) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(width) + static_cast<std::size_t>(column);
}

constexpr int kBlockRows = 32;
constexpr int kBlockKeys = 64;

template <class Precision>
class Block {
  using Real = typename Precision::Real;
  static constexpr Real kMinusInf = -std::numeric_limits<Real>::infinity();

 public:
  /// Rows [first, first + rows) of one head of one sequence, and all keys that any of them sees.
  Block(const Problem& problem, const Precision& precision, int b, int head, int first)
      : p_(problem),
        precision_(precision),
        b_(b),
        head_(head),
        first_(first),
        lengths_(p_.lengths_of(b)),
        rows_(std::min(kBlockRows, lengths_.q - first)) {
    keys_.end = 0;
    keys_.begin = std::numeric_limits<int>::max();
    for (int r = 0; r < rows_; ++r) {
      const KeyRange range = range_of(r);
      if (range.begin == range.end) continue;
      keys_.begin = std::min(keys_.begin, range.begin);
      keys_.end = std::max(keys_.end, range.end);
    }
    if (keys_.end == 0) keys_.begin = 0;
    scores_.resize(static_cast<std::size_t>(rows_) * width());
  }

  void run(Result& result) {
    multiply_qk();
    for (int r = 0; r < rows_; ++r) {
      change_scores(r);
      softmax(r, result);
    }
    weigh_values(result);
  }

 private:
  [[nodiscard]] KeyRange range_of(int r) const { return visible_keys(p_, first_ + r, lengths_); }
  [[nodiscard]] std::size_t width() const { return static_cast<std::size_t>(keys_.end - keys_.begin); }
  [[nodiscard]] int kv_head() const { return head_ / (p_.heads_q / p_.heads_kv); }
  [[nodiscard]] Real value(const View& tensor, std::int64_t element) const {
    return precision_.input(static_cast<Real>(load_element(p_.config.dtype, tensor.data, element)));
  }
  /// Of the keys of row r, those that it sees.
  std::span<Real> seen_scores(int r) {
    const KeyRange range = range_of(r);
    if (range.begin == range.end) return {};
    return std::span(scores_).subspan(
        static_cast<std::size_t>(r) * width() + static_cast<std::size_t>(range.begin - keys_.begin),
        static_cast<std::size_t>(range.end - range.begin));
  }

  void multiply_qk() {
    const int dim = p_.config.head_dim_qk;
    std::vector<Real> q_block(at(rows_, dim, 0));
    for (int r = 0; r < rows_; ++r) {
      const std::int64_t q = p_.query_offset(p_.q, b_, first_ + r, head_);
      for (int c = 0; c < dim; ++c) q_block[at(r, dim, c)] = value(p_.q, q + c);
    }
    std::vector<Real> k_block(static_cast<std::size_t>(dim) * kBlockKeys);  // [dim][key]
    for (int begin = keys_.begin; begin < keys_.end; begin += kBlockKeys) {
      const int count = std::min(kBlockKeys, keys_.end - begin);
      for (int j = 0; j < count; ++j) {
        const std::int64_t k = p_.key_offset(p_.k, b_, begin + j, kv_head());
        for (int c = 0; c < dim; ++c) k_block[at(c, kBlockKeys, j)] = value(p_.k, k + c);
      }
      for (int r = 0; r < rows_; ++r) {
        Real* s = scores_.data() + static_cast<std::size_t>(r) * width() + (begin - keys_.begin);
        for (int c = 0; c < dim; ++c) {
          const Real factor = q_block[at(r, dim, c)];
          const Real* k = k_block.data() + static_cast<std::ptrdiff_t>(c) * kBlockKeys;
          for (int j = 0; j < count; ++j) s[j] += factor * k[j];
        }
      }
    }
  }

  void change_scores(int r) {
    const auto& config = p_.config;
    const int i = first_ + r;
    const int position = i + delta(p_, lengths_);
    const std::int64_t bias = p_.bias.offset(b_, i, head_);
    int j = range_of(r).begin;
    for (Real& s : seen_scores(r)) {
      s = precision_.step(precision_.step(s) * static_cast<Real>(p_.scale));
      if (config.softcap) s = capped(s);
      if (config.alibi) s = precision_.step(s - slope() * static_cast<Real>(std::abs(position - j)));
      if (config.bias == Bias::additive)
        s = precision_.step(s + static_cast<Real>(load_element(config.dtype, p_.bias.data, bias + j)));
      if (config.bias == Bias::mask && static_cast<const std::uint8_t*>(p_.bias.data)[bias + j] == 0) s = kMinusInf;
      if (!in_tree(p_, b_, i, j, lengths_)) s = kMinusInf;
      ++j;
    }
  }

  [[nodiscard]] Real capped(Real s) const {
    const auto cap = static_cast<Real>(p_.softcap);
    return precision_.step(cap * precision_.step(std::tanh(precision_.step(s / cap))));
  }

  [[nodiscard]] Real slope() const {
    const auto heads = static_cast<std::size_t>(p_.heads_q);
    const std::size_t sequence = p_.alibi_slopes.size() > heads ? static_cast<std::size_t>(b_) : 0;
    return static_cast<Real>(p_.alibi_slopes[sequence * heads + static_cast<std::size_t>(head_)]);
  }

  /// What joins the denominator beside the keys, as a logit.
  [[nodiscard]] Real sink() const {
    return p_.config.sinks ? static_cast<Real>(p_.sinks[static_cast<std::size_t>(head_)]) : kMinusInf;
  }

  void softmax(int r, Result& result) {
    const auto seen = seen_scores(r);
    double& lse = result.lse[result.lse_at(p_, b_, first_ + r, head_)];
    Real most = sink();
    for (const Real s : seen) most = std::max(most, s);
    if (most == kMinusInf) {
      std::ranges::fill(seen, Real{0});
      lse = -std::numeric_limits<double>::infinity();
      return;
    }
    Real sum = std::exp(sink() - most);
    for (Real& s : seen) {
      s = std::exp(s - most);
      sum += s;
    }
    for (Real& s : seen) s = precision_.weight(s / sum);
    lse = static_cast<double>(most) + std::log(static_cast<double>(sum));
    if (p_.lse_base2) lse *= std::numbers::log2e;
  }

  void weigh_values(Result& result) {
    const int dim = p_.config.head_dim_v;
    std::vector<Real> v_block(static_cast<std::size_t>(dim) * kBlockKeys);  // [key][dim]
    std::vector<Real> out(at(rows_, dim, 0));
    for (int begin = keys_.begin; begin < keys_.end; begin += kBlockKeys) {
      const int count = std::min(kBlockKeys, keys_.end - begin);
      for (int j = 0; j < count; ++j) {
        const std::int64_t v = p_.key_offset(p_.v, b_, begin + j, kv_head());
        for (int c = 0; c < dim; ++c) v_block[at(j, dim, c)] = value(p_.v, v + c);
      }
      for (int r = 0; r < rows_; ++r) {
        // Hidden keys are passed over, not multiplied by 0: what they hold may be NaN.
        const KeyRange range = range_of(r);
        const Real* p = scores_.data() + static_cast<std::size_t>(r) * width();
        Real* o = out.data() + static_cast<std::ptrdiff_t>(r) * dim;
        for (int j = std::max(begin, range.begin); j < std::min(begin + count, range.end); ++j) {
          const Real weight = p[j - keys_.begin];
          const Real* v = v_block.data() + static_cast<std::ptrdiff_t>(j - begin) * dim;
          for (int c = 0; c < dim; ++c) o[c] += weight * v[c];
        }
      }
    }
    for (int r = 0; r < rows_; ++r) {
      double* target = result.out.data() + result.out_at(p_, b_, first_ + r, head_);
      for (int c = 0; c < dim; ++c) target[c] = static_cast<double>(precision_.step(out[at(r, dim, c)]));
    }
  }

  const Problem& p_;
  Precision precision_;
  int b_;
  int head_;
  int first_;
  Lengths lengths_;
  int rows_;
  KeyRange keys_;
  std::vector<Real> scores_;
};

template <class Precision>
Result attention(const Problem& problem, const Precision& precision) {
  Result result;
  const std::size_t rows = problem.rows() * static_cast<std::size_t>(problem.heads_q);
  result.out.assign(rows * static_cast<std::size_t>(problem.config.head_dim_v), std::nan(""));
  result.lse.assign(rows, std::nan(""));
  const int blocks = (problem.len_q + kBlockRows - 1) / kBlockRows;
  parallel_for(problem.batch * problem.heads_q * blocks, [&](int index) {
    const int first = index % blocks * kBlockRows;
    const int head = index / blocks % problem.heads_q;
    const int b = index / blocks / problem.heads_q;
    if (first < problem.queries_of(b)) Block(problem, precision, b, head, first).run(result);
  });
  return result;
}

}  // namespace

Result reference(const Problem& problem) { return attention(problem, InFloat64{}); }

Result naive(const Problem& problem) {
  switch (problem.config.dtype) {
    case DType::f16:
      return attention(problem, In16<DType::f16>{});
    case DType::bf16:
      return attention(problem, In16<DType::bf16>{});
    case DType::f32:
      break;
  }
  return problem.config.allow_tf32 ? attention(problem, InTf32{}) : attention(problem, InFloat32{});
}

}  // namespace kiln::test
