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

/// Index of [row][column].
std::size_t flat(std::size_t row, int width, int column) {
  return row * static_cast<std::size_t>(width) + static_cast<std::size_t>(column);
}

/// `count` elements from the `first` on.
void unpack(std::span<const std::byte> tensor, std::size_t first, std::size_t count, DType type,
            std::vector<float>& values) {
  for (std::size_t i = first; i < first + count; ++i) values.push_back(load_element(tensor, i, type));
}

/// Which row of the tensor key `key` of a sequence is.
std::size_t key_row(const Problem& problem, const HostInputs& inputs, std::size_t batch, int key) {
  if (!problem.request.config.paged) return flat(batch, problem.len_k, key);
  const std::size_t entry = flat(batch, problem.pages_of_a_sequence(), key / problem.page_size);
  return flat(static_cast<std::size_t>(inputs.pages[entry]), problem.page_size, key % problem.page_size);
}

/// [length, dim] of one sequence and head.
std::vector<float> unpack_head(std::span<const std::byte> tensor, const Problem& problem, const HostInputs& inputs,
                               const Row& row, int length, int dim) {
  const int head = row.head / (problem.heads_q / problem.heads_kv);
  const auto batch = static_cast<std::size_t>(row.batch);
  const auto width = static_cast<std::size_t>(dim);
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(length) * width);
  for (int j = 0; j < length; ++j) {
    const std::size_t first = flat(key_row(problem, inputs, batch, j), problem.heads_kv, head) * width;
    unpack(tensor, first, width, problem.request.config.dtype, values);
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
struct Naive {
  using Number = float;
  static float round(float x) { return rounded(x, type); }
};

/// What becomes of the product of one row and a key.
template <class Arithmetic>
class Scores {
 public:
  using Number = typename Arithmetic::Number;

  Scores(const Problem& problem, const HostInputs& inputs, const Row& row, Lengths lengths)
      : config_(problem.request.config),
        bias_(inputs.bias),
        bias_row_(flat(flat(slice_of(config_.bias, row), problem.len_q, row.query), problem.len_k, 0)),
        position_(position_of(problem, lengths, row.query)),
        slope_(config_.alibi ? inputs.alibi_slopes[static_cast<std::size_t>(row.head)] : 0) {}

  /// −inf for a key that the mask hides.
  [[nodiscard]] Number operator()(Number product, int key) const {
    const Number scale = Number{1} / std::sqrt(static_cast<Number>(config_.head_dim_qk));
    Number score = Arithmetic::round(scale * Arithmetic::round(product));
    if (config_.softcap) score = capped(score);
    if (config_.alibi) {
      score = Arithmetic::round(score - static_cast<Number>(slope_) * static_cast<Number>(std::abs(position_ - key)));
    }
    const std::size_t at = bias_row_ + static_cast<std::size_t>(key);
    if (config_.bias == Bias::additive) {
      score = Arithmetic::round(score + static_cast<Number>(load_element(bias_, at, config_.dtype)));
    }
    if (config_.bias == Bias::mask && bias_[at] == std::byte{0}) return -std::numeric_limits<Number>::infinity();
    return score;
  }

 private:
  /// Each head has an additive bias of its own, each sequence a mask.
  static std::size_t slice_of(Bias bias, const Row& row) {
    return static_cast<std::size_t>(bias == Bias::additive ? row.head : row.batch);
  }
  static Number capped(Number score) {
    const auto cap = static_cast<Number>(kSoftcap);
    return Arithmetic::round(cap * Arithmetic::round(std::tanh(Arithmetic::round(score / cap))));
  }

  const AttentionConfig& config_;
  std::span<const std::byte> bias_;
  std::size_t bias_row_;
  int position_;
  float slope_;
};

/// One row: p = softmax(scores), o = p v, each step rounded as Arithmetic says. A sink is −inf where there is none.
template <class Arithmetic>
double attend(std::span<const float> q, const KeysAndValues& kv, KeyRange keys, const Scores<Arithmetic>& scores,
              double sink, std::span<double> out) {
  using Number = typename Arithmetic::Number;
  std::ranges::fill(out, 0.0);
  const std::size_t dim_qk = q.size();
  const std::size_t dim_v = out.size();
  std::vector<Number> p;
  auto most = static_cast<Number>(sink);
  for (int j = keys.first; j < keys.end; ++j) {
    const auto k = std::span(kv.k).subspan(static_cast<std::size_t>(j) * dim_qk, dim_qk);
    p.push_back(scores(dot<Number>(q, k), j));
    most = std::max(most, p.back());
  }
  if (most == -std::numeric_limits<Number>::infinity()) return static_cast<double>(most);
  Number sum = std::exp(static_cast<Number>(sink) - most);
  for (Number& x : p) sum += (x = std::exp(x - most));

  std::vector<Number> o(dim_v);
  for (std::size_t j = 0; j < p.size(); ++j) {
    const Number weight = Arithmetic::round(p[j] / sum);
    const float* v = kv.v.data() + (static_cast<std::size_t>(keys.first) + j) * dim_v;
    for (std::size_t i = 0; i < dim_v; ++i) o[i] += weight * static_cast<Number>(v[i]);
  }
  std::ranges::transform(o, out.begin(), [](Number x) { return static_cast<double>(Arithmetic::round(x)); });
  return static_cast<double>(most) + std::log(static_cast<double>(sum));
}

double sink_of(const HostInputs& inputs, const Row& row) {
  return inputs.sinks.empty() ? -std::numeric_limits<double>::infinity()
                              : inputs.sinks[static_cast<std::size_t>(row.head)];
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
      const Lengths lengths = lengths_of(problem, inputs, row.batch);
      if (row.batch != kv_batch || row.head / group != kv_head) {
        kv_batch = row.batch;
        kv_head = row.head / group;
        kv.k = unpack_head(inputs.k, problem, inputs, row, lengths.k, config.head_dim_qk);
        kv.v = unpack_head(inputs.v, problem, inputs, row, lengths.k, config.head_dim_v);
      }
      const std::size_t token = flat(static_cast<std::size_t>(row.batch), problem.len_q, row.query);
      const std::size_t at = flat(token, problem.heads_q, row.head) * dim_qk;
      std::vector<float> q;
      unpack(inputs.q, at, dim_qk, config.dtype, q);
      const Scores<Arithmetic> scores(problem, inputs, row, lengths);
      values.lse[r] = attend(q, kv, visible_keys(problem, lengths, row.query), scores, sink_of(inputs, row),
                             std::span(values.out).subspan(r * dim_v, dim_v));
    }
  });
  return values;
}

}  // namespace

RowValues attention_float64(const Problem& problem, const HostInputs& inputs, std::span<const Row> rows) {
  return attention<Float64>(problem, inputs, rows);
}

RowValues attention_naive(const Problem& problem, const HostInputs& inputs, std::span<const Row> rows) {
  switch (problem.request.config.dtype) {
    case DType::f16:
      return attention<Naive<DType::f16>>(problem, inputs, rows);
    case DType::bf16:
      return attention<Naive<DType::bf16>>(problem, inputs, rows);
    case DType::f32:
      break;
  }
  return attention<Naive<DType::f32>>(problem, inputs, rows);
}

}  // namespace kiln::tune
