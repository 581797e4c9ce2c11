#pragma once

#include "device/decode_workspace.cuh"
#include "device/emulator/truth.hpp"
#include "device/page_size.cuh"
#include "device/tile_schedule.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <numeric>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace emulator {

extern const KernelFacts decode_bf16_d128;
extern const KernelFacts decode_f16_d40_88;
extern const KernelFacts decode_f16_d64_paged;
extern const KernelFacts decode_bf16_d64_scores;
extern const KernelFacts decode_sm75_d64_mask;

/// How keys are split: balanced over so many groups, or fixed.
struct DecodeSplit {
  int groups = 1;
  int share_cost = 0;
  int number = 0;
  int tiles = 0;
};

struct DecodeCase {
  std::string name;
  const KernelFacts* kernel;
  Heads heads;
  int max_len_k;
  std::vector<int> lengths;  // one sequence each, with its padding
  std::vector<int> len_q{};  // none: one new token each
  bool packed = false;       // new tokens of all sequences one behind the other
  DecodeSplit split{};
  bool causal = false;
  int left = -1;
  int right = -1;
  std::vector<int> padding{};
  std::vector<int> cache_rows{};
  int page_size = 0;
  bool page_lists = false;
  bool tree = false;
  bool sinks = false;
  int full_depth = 8;
};

inline void PrintTo(const DecodeCase& c, std::ostream* out) { *out << c.name; }

inline int most_of(const std::vector<int>& values) { return values.empty() ? 0 : *std::ranges::max_element(values); }

/// A decode call and its result. What no sequence has is NaN, and no page where a page is listed.
class DecodeCall {
 public:
  explicit DecodeCall(const DecodeCase& problem)
      : c(problem),
        batch(static_cast<int>(c.lengths.size())),
        len_q_(c.len_q.empty() ? std::vector<int>(c.lengths.size(), 1) : c.len_q),
        cu_q_(c.lengths.size() + 1),
        q(c.kernel->type, c.packed ? 1 : batch, query_rows(), c.heads.q, c.kernel->head_dim_qk),
        k(c.kernel->type, cache_size(), rows_of_cache(), c.heads.kv, c.kernel->head_dim_qk),
        v(c.kernel->type, cache_size(), rows_of_cache(), c.heads.kv, c.kernel->head_dim_v),
        o(c.kernel->output, c.packed ? 1 : batch, query_rows(), c.heads.q, c.kernel->head_dim_v),
        lse(static_cast<std::size_t>((c.packed ? 1 : batch) * query_rows() * c.heads.q), NAN) {
    std::partial_sum(len_q_.begin(), len_q_.end(), cu_q_.begin() + 1);
    make_pages();
    std::mt19937 random(11);
    std::normal_distribution<float> normal;
    const auto fill_row = [&](Tensor& t, std::pair<int, int> at, int heads, int dim) {
      for (int h = 0; h < heads; ++h)
        for (int i = 0; i < dim; ++i) t.set(at.first, at.second, h, i, normal(random));
    };
    for (int b = 0; b < batch; ++b) {
      for (int i = 0; i < queries(b); ++i) fill_row(q, q_at(b, i), c.heads.q, c.kernel->head_dim_qk);
      for (int j = 0; j < keys(b); ++j) {
        fill_row(k, k_at(b, j), c.heads.kv, c.kernel->head_dim_qk);
        fill_row(v, k_at(b, j), c.heads.kv, c.kernel->head_dim_v);
      }
    }
    for (int h = 0; h < c.heads.q; ++h) sinks_.push_back(c.sinks ? normal(random) : 0);
    for (int h = 0; h < batch * c.heads.q; ++h) slopes_.push_back(0.1F * std::abs(normal(random)));
    bias_.resize(static_cast<std::size_t>(most_of(len_q_) * std::max(c.max_len_k, 1)));
    for (auto& x : bias_) x = bits_of(c.kernel->type, normal(random));
    for (int i = 0; i < batch * most_of(len_q_) * words(); ++i) tree_.push_back(static_cast<std::uint32_t>(random()));
    const auto layout = kiln::device::decode_workspace(parts() * c.heads.kv, c.kernel->tile_m, c.kernel->head_dim_v);
    workspace.resize(static_cast<std::size_t>(layout.bytes) / sizeof(Chunk) + 1);
  }

  [[nodiscard]] int queries(int b) const { return len_q_[static_cast<std::size_t>(b)]; }
  [[nodiscard]] int keys(int b) const {
    if (!c.cache_rows.empty() && c.cache_rows[static_cast<std::size_t>(b)] < 0) return 0;
    return std::max(std::clamp(c.lengths[static_cast<std::size_t>(b)], 0, c.max_len_k) - padding(b), 0);
  }
  [[nodiscard]] int padding(int b) const { return c.padding.empty() ? 0 : c.padding[static_cast<std::size_t>(b)]; }
  [[nodiscard]] int cache_row(int b) const {
    return c.cache_rows.empty() ? b : c.cache_rows[static_cast<std::size_t>(b)];
  }
  [[nodiscard]] std::pair<int, int> q_at(int b, int i) const {
    return c.packed ? std::pair{0, cu_q_[static_cast<std::size_t>(b)] + i} : std::pair{b, i};
  }
  [[nodiscard]] std::pair<int, int> k_at(int b, int j) const {
    const int at = padding(b) + j;
    if (c.page_size == 0) return {cache_row(b), at};
    const int first = c.page_lists ? indptr_[static_cast<std::size_t>(b)] : cache_row(b) * pages_a_row();
    return {table_[static_cast<std::size_t>(first + at / c.page_size)], at % c.page_size};
  }

  /// By the definitions.
  [[nodiscard]] Truth truth() const {
    std::vector<int> len_k;
    for (int b = 0; b < batch; ++b) len_k.push_back(keys(b));
    Truth truth{.len_q = len_q_,
                .len_k = len_k,
                .heads = c.heads,
                .q_at = [this](int b, int i) { return q_at(b, i); },
                .k_at = [this](int b, int j) { return k_at(b, j); },
                .score = [this](int b, int h, int i, int j, double dot) { return score(b, h, i, j, dot); },
                .sees = [this](int b, int, int i, int j) { return sees(b, i, j); }};
    if (c.sinks) truth.sinks = {sinks_.begin(), sinks_.end()};
    return truth;
  }

  void launch() {
    const auto layout = kiln::device::decode_workspace(parts() * c.heads.kv, c.kernel->tile_m, c.kernel->head_dim_v);
    char* base = reinterpret_cast<char*>(workspace.data());
    kiln::device::DecodeParams params{{.q = q.data(),
                                       .k = k.data(),
                                       .v = v.data(),
                                       .o = o.data(),
                                       .lse = lse.data(),
                                       .q_strides = q.strides,
                                       .k_strides = k.strides,
                                       .v_strides = v.strides,
                                       .o_strides = o.strides,
                                       .cu_seqlens_q = c.packed ? cu_q_.data() : nullptr,
                                       .seqused_q = c.len_q.empty() || c.packed ? nullptr : len_q_.data(),
                                       .seqused_k = c.page_lists ? nullptr : c.lengths.data(),
                                       .page_table = table_.data(),
                                       .page_table_stride = pages_a_row(),
                                       .alibi_slopes = slopes_.data(),
                                       .alibi_batch_stride = c.heads.q,
                                       .sinks = c.sinks ? sinks_.data() : nullptr,
                                       .bias = is_mask() ? static_cast<const void*>(mask_bytes()) : bias_.data(),
                                       .bias_strides = {0, c.max_len_k, 0},
                                       .batch = batch,
                                       .heads_q = c.heads.q,
                                       .heads_kv = c.heads.kv,
                                       .group = c.heads.group(),
                                       .len_q = most_of(len_q_),
                                       .len_k = c.max_len_k,
                                       .total_q = cu_q_.back(),
                                       .window_left = c.left,
                                       .window_right = c.causal ? 0 : c.right,
                                       .scale_log2 = static_cast<float>(kScale * std::numbers::log2e),
                                       .softcap_log2 = kCapLog2,
                                       .inverse_cap = 1 / kCapLog2,
                                       .lse_unit = std::numbers::ln2_v<float>,
                                       .heads = kiln::device::pack_heads(c.heads.group(), most_of(len_q_)),
                                       .page = kiln::device::page_size_of(c.page_size)}};
    params.cache = {.rows = c.cache_rows.empty() ? nullptr : c.cache_rows.data(),
                    .left_padding = c.padding.empty() ? nullptr : c.padding.data(),
                    .page_indptr = c.page_lists ? indptr_.data() : nullptr,
                    .last_page_len = c.page_lists ? last_page_.data() : nullptr};
    if (c.tree) params.tree = {tree_.data(), most_of(len_q_) * words(), words()};
    params.counters = reinterpret_cast<int*>(base + layout.counters);
    params.partial_o = reinterpret_cast<float*>(base + layout.partial_o);
    params.partial_state = reinterpret_cast<float*>(base + layout.partial_state);
    params.split = {groups(), c.split.number, c.split.tiles, row_tiles(), c.split.share_cost};
    params.alike = c.page_lists || !c.lengths.empty() ? 0 : 1;
    params.simple_cache = c.cache_rows.empty() && c.padding.empty() && !c.page_lists ? 1 : 0;
    params.full_depth = c.full_depth;
    c.kernel->run(&params, {static_cast<unsigned>(c.heads.kv), static_cast<unsigned>(groups())});
  }

  void expect_right() {
    const Truth expected = truth();
    for (int b = 0; b < batch; ++b) {
      for (int h = 0; h < c.heads.q; ++h) {
        for (int i = 0; i < queries(b); ++i) {
          const auto [first, second] = q_at(b, i);
          const int at = (first * c.heads.q + h) * query_rows() + second;
          ASSERT_NO_FATAL_FAILURE(expect_row(o, lse[static_cast<std::size_t>(at)],
                                             row_of(expected, *c.kernel, q, k, v, b, h, i), tolerance_of(*c.kernel),
                                             first, second, h))
              << "sequence " << b << " query " << i << " head " << h;
        }
      }
    }
  }

  const DecodeCase& c;
  int batch;

 private:
  static constexpr double kScale = 0.125;
  static constexpr float kCap = 3;
  static constexpr float kCapLog2 = kCap * std::numbers::log2e_v<float>;

  std::vector<int> len_q_;
  std::vector<int> cu_q_;

 public:
  Tensor q;
  Tensor k;
  Tensor v;
  Tensor o;
  std::vector<float> lse;
  std::vector<Chunk> workspace;

 private:
  [[nodiscard]] int query_rows() const {
    return c.packed ? std::accumulate(len_q_.begin(), len_q_.end(), 0) : most_of(len_q_);
  }
  [[nodiscard]] int rows_of_cache() const { return c.page_size > 0 ? c.page_size : c.max_len_k; }
  [[nodiscard]] int pages_a_row() const {
    return c.page_size > 0 ? kiln::device::ceil_div(c.max_len_k, c.page_size) : 0;
  }
  [[nodiscard]] int cache_rows() const { return std::max(batch, most_of(c.cache_rows) + 1); }
  [[nodiscard]] int cache_size() const { return c.page_size > 0 ? cache_rows() * pages_a_row() : cache_rows(); }
  [[nodiscard]] int words() const { return kiln::device::ceil_div(most_of(len_q_), 32); }
  [[nodiscard]] int row_tiles() const {
    return kiln::device::ceil_div(most_of(len_q_) * c.heads.group(), c.kernel->tile_m);
  }
  [[nodiscard]] int groups() const {
    return c.split.number > 0 ? c.split.number * batch * row_tiles() : c.split.groups;
  }
  [[nodiscard]] int parts() const { return c.split.number > 0 ? groups() : 2 * groups(); }
  [[nodiscard]] bool is_mask() const { return c.kernel == &decode_sm75_d64_mask; }
  [[nodiscard]] bool has_scores() const { return c.kernel == &decode_bf16_d64_scores; }
  [[nodiscard]] const unsigned char* mask_bytes() const { return reinterpret_cast<const unsigned char*>(bias_.data()); }

  void make_pages() {
    if (c.page_size == 0) return;
    std::vector<int> all(static_cast<std::size_t>(cache_size()));
    std::iota(all.begin(), all.end(), 0);
    std::ranges::shuffle(all, std::mt19937(5));
    constexpr int kNoPage = 1 << 28;
    if (!c.page_lists) {
      table_ = all;
      for (int b = 0; b < cache_rows(); ++b) {
        int used = 0;
        for (int s = 0; s < batch; ++s) {
          if (cache_row(s) == b) used = std::max(used, padding(s) + keys(s));
        }
        for (int p = kiln::device::ceil_div(used, c.page_size); p < pages_a_row(); ++p) {
          table_[static_cast<std::size_t>(b * pages_a_row() + p)] = kNoPage;
        }
      }
      return;
    }
    indptr_ = {0};
    for (int b = 0; b < batch; ++b) {
      const int length = padding(b) + keys(b);
      for (int p = 0; p < kiln::device::ceil_div(length, c.page_size); ++p) table_.push_back(all[table_.size()]);
      indptr_.push_back(static_cast<int>(table_.size()));
      last_page_.push_back(length == 0 ? 0 : (length - 1) % c.page_size + 1);
    }
  }

  [[nodiscard]] double score(int b, int h, int i, int j, double dot) const {
    double s = kScale * dot;
    if (!has_scores()) return s;
    s = static_cast<double>(kCap) * std::tanh(s / static_cast<double>(kCap));
    const auto slope = static_cast<double>(slopes_[static_cast<std::size_t>(b * c.heads.q + h)]);
    s -= slope * std::abs(i + keys(b) - queries(b) - j);
    return s + static_cast<double>(value_of(c.kernel->type, bias_[static_cast<std::size_t>(i * c.max_len_k + j)]));
  }

  [[nodiscard]] bool sees(int b, int i, int j) const {
    const int at = i + keys(b) - queries(b);
    if (c.causal && j > at) return false;
    if (c.left >= 0 && j < at - c.left) return false;
    if (c.right >= 0 && j > at + c.right) return false;
    if (is_mask() && mask_bytes()[i * c.max_len_k + j] == 0) return false;
    const int token = j - (keys(b) - queries(b));
    if (!c.tree || token < 0) return true;
    const int word = (b * most_of(len_q_) + i) * words() + token / 32;
    return (tree_[static_cast<std::size_t>(word)] >> (token % 32) & 1) != 0;
  }

  std::vector<int> table_, indptr_, last_page_;
  std::vector<float> sinks_, slopes_;
  std::vector<std::uint16_t> bias_;
  std::vector<std::uint32_t> tree_;
};

}  // namespace emulator
