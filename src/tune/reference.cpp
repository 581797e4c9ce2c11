#include "tune/reference.hpp"

#include "tune/half.hpp"
#include "tune/parallel.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kiln::tune {
namespace {

/// The keys and values of one sequence and head, unpacked: [length, dim].
struct KeysAndValues {
  std::vector<float> k;
  std::vector<float> v;
};

std::size_t offset(int batch, int row, int head, int length, int heads, int dim) {
  const std::size_t token =
      static_cast<std::size_t>(batch) * static_cast<std::size_t>(length) + static_cast<std::size_t>(row);
  return (token * static_cast<std::size_t>(heads) + static_cast<std::size_t>(head)) * static_cast<std::size_t>(dim);
}

std::vector<float> unpack(std::span<const std::uint16_t> bits, DType type) {
  std::vector<float> values(bits.size());
  std::ranges::transform(bits, values.begin(), [type](std::uint16_t b) { return from_bits(b, type); });
  return values;
}

/// [length, dim] of one head out of [batch, length, heads, dim].
std::vector<float> unpack_head(std::span<const std::uint16_t> tensor, const Problem& problem, int batch, int head,
                               int length, int dim) {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(length) * static_cast<std::size_t>(dim));
  for (int j = 0; j < length; ++j) {
    const auto row =
        tensor.subspan(offset(batch, j, head, problem.len_k, problem.heads_kv, dim), static_cast<std::size_t>(dim));
    for (const std::uint16_t bits : row) values.push_back(from_bits(bits, problem.request.config.dtype));
  }
  return values;
}

/// Eight sums side by side, so that the compiler may use vectors without reordering additions.
template <class Number>
Number dot(std::span<const float> a, std::span<const float> b) {
  constexpr std::size_t kLanes = 8;
  Number sums[kLanes] = {};
  for (std::size_t i = 0; i + kLanes <= a.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += static_cast<Number>(a[i + lane]) * static_cast<Number>(b[i + lane]);
    }
  }
  Number total = 0;
  for (const Number sum : sums) total += sum;
  for (std::size_t i = a.size() / kLanes * kLanes; i < a.size(); ++i) {
    total += static_cast<Number>(a[i]) * static_cast<Number>(b[i]);
  }
  return total;
}

struct Float64 {
  using Number = double;
  static double round(double x) { return x; }
};

template <DType type>
struct Naive16 {
  using Number = float;
  static float round(float x) { return rounded(x, type); }
};

/// One row: s = scale · q kᵀ, p = softmax(s), o = p v, each step rounded as Arithmetic says.
template <class Arithmetic>
double attend(std::span<const float> q, const KeysAndValues& kv, KeyRange keys, std::span<double> out) {
  using Number = typename Arithmetic::Number;
  std::ranges::fill(out, 0.0);
  if (keys.end <= keys.first) return -std::numeric_limits<double>::infinity();

  const std::size_t dim_qk = q.size();
  const std::size_t dim_v = out.size();
  const auto first = static_cast<std::size_t>(keys.first);
  const auto end = static_cast<std::size_t>(keys.end);
  const Number scale = Number{1} / std::sqrt(static_cast<Number>(dim_qk));
  std::vector<Number> p(end - first);
  for (std::size_t j = first; j < end; ++j) {
    const Number product = Arithmetic::round(dot<Number>(q, std::span(kv.k).subspan(j * dim_qk, dim_qk)));
    p[j - first] = Arithmetic::round(scale * product);
  }
  const Number most = *std::ranges::max_element(p);
  Number sum = 0;
  for (Number& x : p) sum += (x = std::exp(x - most));

  std::vector<Number> o(dim_v);
  for (std::size_t j = first; j < end; ++j) {
    const Number weight = Arithmetic::round(p[j - first] / sum);
    const float* v = kv.v.data() + j * dim_v;
    for (std::size_t i = 0; i < dim_v; ++i) o[i] += weight * static_cast<Number>(v[i]);
  }
  std::ranges::transform(o, out.begin(), [](Number x) { return static_cast<double>(Arithmetic::round(x)); });
  return static_cast<double>(most) + std::log(static_cast<double>(sum));
}

/// All rows, in chunks that share one sequence and KV head.
template <class Arithmetic>
RowValues attention(const Problem& problem, const HostInputs& inputs, std::span<const Row> rows) {
  const AttentionConfig& config = problem.request.config;
  const int group = problem.heads_q / problem.heads_kv;
  const auto dim_qk = static_cast<std::size_t>(config.head_dim_qk);
  const auto dim_v = static_cast<std::size_t>(config.head_dim_v);
  RowValues values{std::vector<double>(rows.size() * dim_v), std::vector<double>(rows.size())};

  constexpr std::size_t kChunk = 64;
  parallel_for((rows.size() + kChunk - 1) / kChunk, [&](std::size_t chunk) {
    KeysAndValues kv;
    int kv_batch = -1;
    int kv_head = -1;
    for (std::size_t r = chunk * kChunk; r < std::min(rows.size(), (chunk + 1) * kChunk); ++r) {
      const Row& row = rows[r];
      const int length = inputs.lengths.empty() ? problem.len_k : inputs.lengths[static_cast<std::size_t>(row.batch)];
      if (row.batch != kv_batch || row.head / group != kv_head) {
        kv_batch = row.batch;
        kv_head = row.head / group;
        kv.k = unpack_head(inputs.k, problem, kv_batch, kv_head, length, config.head_dim_qk);
        kv.v = unpack_head(inputs.v, problem, kv_batch, kv_head, length, config.head_dim_v);
      }
      const std::size_t at = offset(row.batch, row.query, row.head, problem.len_q, problem.heads_q, config.head_dim_qk);
      const std::vector<float> q = unpack(std::span(inputs.q).subspan(at, dim_qk), config.dtype);
      const KeyRange keys = visible_keys(problem, length, row.query);
      values.lse[r] = attend<Arithmetic>(q, kv, keys, std::span(values.out).subspan(r * dim_v, dim_v));
    }
  });
  return values;
}

}  // namespace

KeyRange visible_keys(const Problem& problem, int len_k, int query) {
  const AttentionConfig& config = problem.request.config;
  // The query of a decode call is the newest token, whatever the alignment.
  const bool at_the_end = problem.request.kind == KernelKind::decode || config.alignment == Alignment::bottom_right;
  const int delta = at_the_end ? len_k - problem.len_q : 0;
  const int diagonal = query + delta;
  KeyRange keys{0, len_k};
  if (config.causal) keys.end = std::min(keys.end, diagonal + 1);
  if (config.window == Window::sliding) {
    if (problem.window_left >= 0) keys.first = std::max(keys.first, diagonal - problem.window_left);
    if (problem.window_right >= 0) keys.end = std::min(keys.end, diagonal + problem.window_right + 1);
  }
  return keys;
}

RowValues attention_float64(const Problem& problem, const HostInputs& inputs, std::span<const Row> rows) {
  return attention<Float64>(problem, inputs, rows);
}

RowValues attention_naive16(const Problem& problem, const HostInputs& inputs, std::span<const Row> rows) {
  if (problem.request.config.dtype == DType::bf16) return attention<Naive16<DType::bf16>>(problem, inputs, rows);
  return attention<Naive16<DType::f16>>(problem, inputs, rows);
}

}  // namespace kiln::tune
