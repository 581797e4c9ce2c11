#include "support/reference.hpp"

#include "support/half.hpp"
#include "support/parallel.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace kiln::test {

int Problem::keys_of(int sequence) const {
  if (lengths.empty()) return len_k;
  return std::clamp(lengths[static_cast<std::size_t>(sequence)], 0, len_k);
}

namespace {

int delta(const Problem& problem, int len_k) {
  return problem.config.alignment == Alignment::bottom_right ? len_k - problem.len_q : 0;
}

}  // namespace

bool visible(const Problem& problem, int i, int j, int len_k) {
  const int d = delta(problem, len_k);
  if (j < 0 || j >= len_k) return false;
  if (problem.config.causal && j > i + d) return false;
  if (problem.config.window == Window::none) return true;
  if (problem.window_left >= 0 && j < i + d - problem.window_left) return false;
  return problem.window_right < 0 || j <= i + d + problem.window_right;
}

KeyRange visible_keys(const Problem& problem, int i, int len_k) {
  const int at = i + delta(problem, len_k);
  int begin = 0;
  int end = len_k;
  if (problem.config.causal) end = std::min(end, at + 1);
  if (problem.config.window == Window::sliding) {
    if (problem.window_left >= 0) begin = std::max(begin, at - problem.window_left);
    if (problem.window_right >= 0) end = std::min(end, at + problem.window_right + 1);
  }
  return begin < end ? KeyRange{begin, end} : KeyRange{0, 0};
}

std::size_t Result::out_at(const Problem& problem, int b, int i, int head) const {
  const auto row =
      (static_cast<std::size_t>(b) * static_cast<std::size_t>(problem.len_q) + static_cast<std::size_t>(i)) *
          static_cast<std::size_t>(problem.heads_q) +
      static_cast<std::size_t>(head);
  return row * static_cast<std::size_t>(problem.config.head_dim_v);
}

namespace {

/// Index of [row][column].
std::size_t at(int row, int width, int column) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(width) + static_cast<std::size_t>(column);
}

constexpr int kBlockRows = 32;
constexpr int kBlockKeys = 256;

template <class Real>
class Block {
 public:
  /// Rows [first, first + rows) of one head of one sequence, and all keys that any of them sees.
  Block(const Problem& problem, int b, int head, int first)
      : p_(problem), b_(b), head_(head), first_(first), rows_(std::min(kBlockRows, problem.len_q - first)) {
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

  template <class Round>
  void run(Result& result, const Round& round) {
    compute_scores(round);
    for (int r = 0; r < rows_; ++r) softmax(r, result, round);
    weigh_values(result, round);
  }

 private:
  [[nodiscard]] KeyRange range_of(int r) const { return visible_keys(p_, first_ + r, p_.keys_of(b_)); }
  [[nodiscard]] std::size_t width() const { return static_cast<std::size_t>(keys_.end - keys_.begin); }
  [[nodiscard]] int kv_head() const { return head_ / (p_.heads_q / p_.heads_kv); }
  [[nodiscard]] Real value(std::uint16_t bits) const { return static_cast<Real>(from_16(p_.config.dtype, bits)); }
  std::span<Real> row_scores(int r) {
    return std::span(scores_).subspan(static_cast<std::size_t>(r) * width(), width());
  }

  template <class Round>
  void compute_scores(const Round& round) {
    const int dim = p_.config.head_dim_qk;
    std::vector<Real> k_block(static_cast<std::size_t>(dim) * kBlockKeys);  // [dim][key]
    for (int begin = keys_.begin; begin < keys_.end; begin += kBlockKeys) {
      const int count = std::min(kBlockKeys, keys_.end - begin);
      for (int j = 0; j < count; ++j) {
        const std::uint16_t* k = p_.k.at(b_, begin + j, kv_head());
        for (int c = 0; c < dim; ++c) k_block[at(c, kBlockKeys, j)] = value(k[c]);
      }
      for (int r = 0; r < rows_; ++r) {
        const std::uint16_t* q = p_.q.at(b_, first_ + r, head_);
        Real* s = row_scores(r).data() + (begin - keys_.begin);
        for (int c = 0; c < dim; ++c) {
          const Real factor = value(q[c]);
          const Real* k = k_block.data() + static_cast<std::ptrdiff_t>(c) * kBlockKeys;
          for (int j = 0; j < count; ++j) s[j] += factor * k[j];
        }
        for (int j = 0; j < count; ++j) s[j] = round(round(s[j]) * static_cast<Real>(p_.scale));
      }
    }
  }

  template <class Round>
  void softmax(int r, Result& result, const Round& round) {
    const KeyRange range = range_of(r);
    const std::span<Real> all = row_scores(r);
    const auto seen = all.subspan(static_cast<std::size_t>(range.begin == range.end ? 0 : range.begin - keys_.begin),
                                  static_cast<std::size_t>(range.end - range.begin));
    double& lse = result.lse[(static_cast<std::size_t>(b_) * static_cast<std::size_t>(p_.heads_q) +
                              static_cast<std::size_t>(head_)) *
                                 static_cast<std::size_t>(p_.len_q) +
                             static_cast<std::size_t>(first_ + r)];
    lse = -std::numeric_limits<double>::infinity();
    if (seen.empty()) {
      std::fill(all.begin(), all.end(), Real{0});
      return;
    }
    const Real most = *std::max_element(seen.begin(), seen.end());
    Real sum = 0;
    for (Real& s : seen) {
      s = std::exp(s - most);
      sum += s;
    }
    for (Real& s : seen) s = round(s / sum);
    std::fill(all.data(), seen.data(), Real{0});
    std::fill(seen.data() + seen.size(), all.data() + all.size(), Real{0});
    lse = static_cast<double>(most) + std::log(static_cast<double>(sum));
  }

  template <class Round>
  void weigh_values(Result& result, const Round& round) {
    const int dim = p_.config.head_dim_v;
    std::vector<Real> v_block(static_cast<std::size_t>(dim) * kBlockKeys);  // [key][dim]
    std::vector<Real> out(at(rows_, dim, 0));
    for (int begin = keys_.begin; begin < keys_.end; begin += kBlockKeys) {
      const int count = std::min(kBlockKeys, keys_.end - begin);
      for (int j = 0; j < count; ++j) {
        const std::uint16_t* v = p_.v.at(b_, begin + j, kv_head());
        for (int c = 0; c < dim; ++c) v_block[at(j, dim, c)] = value(v[c]);
      }
      for (int r = 0; r < rows_; ++r) {
        // Hidden keys are passed over, not multiplied by 0: what they hold may be NaN.
        const KeyRange range = range_of(r);
        const Real* p = row_scores(r).data() - keys_.begin;
        Real* o = out.data() + static_cast<std::ptrdiff_t>(r) * dim;
        for (int j = std::max(begin, range.begin); j < std::min(begin + count, range.end); ++j) {
          const Real* v = v_block.data() + static_cast<std::ptrdiff_t>(j - begin) * dim;
          for (int c = 0; c < dim; ++c) o[c] += p[j] * v[c];
        }
      }
    }
    for (int r = 0; r < rows_; ++r) {
      double* target = result.out.data() + result.out_at(p_, b_, first_ + r, head_);
      for (int c = 0; c < dim; ++c) target[c] = static_cast<double>(round(out[at(r, dim, c)]));
    }
  }

  const Problem& p_;
  int b_;
  int head_;
  int first_;
  int rows_;
  KeyRange keys_;
  std::vector<Real> scores_;
};

template <class Real, class Round>
Result attention(const Problem& problem, const Round& round) {
  Result result;
  const auto rows = static_cast<std::size_t>(problem.batch) * static_cast<std::size_t>(problem.heads_q) *
                    static_cast<std::size_t>(problem.len_q);
  result.out.resize(rows * static_cast<std::size_t>(problem.config.head_dim_v));
  result.lse.resize(rows);
  const int blocks = (problem.len_q + kBlockRows - 1) / kBlockRows;
  parallel_for(problem.batch * problem.heads_q * blocks, [&](int index) {
    const int block = index % blocks;
    const int head = index / blocks % problem.heads_q;
    const int b = index / blocks / problem.heads_q;
    Block<Real>(problem, b, head, block * kBlockRows).run(result, round);
  });
  return result;
}

}  // namespace

Result reference(const Problem& problem) {
  return attention<double>(problem, [](double x) { return x; });
}

Result naive16(const Problem& problem) {
  if (problem.config.dtype == DType::f16) return attention<float>(problem, [](float x) { return from_f16(to_f16(x)); });
  return attention<float>(problem, [](float x) { return from_bf16(to_bf16(x)); });
}

}  // namespace kiln::test
