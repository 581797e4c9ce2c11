#include "tune/problem.hpp"

#include "base/fail.hpp"
#include "plan/kernel_config.hpp"
#include "tune/require.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace kiln::tune {
namespace {

std::size_t elements(int batch, int length, int heads, int dim) {
  return static_cast<std::size_t>(batch) * static_cast<std::size_t>(length) * static_cast<std::size_t>(heads) *
         static_cast<std::size_t>(dim);
}

/// How many keys of a sequence some query sees. Ranges of later queries neither begin nor end earlier.
int keys_seen(const Problem& problem, Lengths lengths) {
  const KeyRange first = visible_keys(problem, lengths, 0);
  const KeyRange last = visible_keys(problem, lengths, lengths.q - 1);
  return std::max(0, last.end - std::max(first.first, 0));
}

std::vector<std::int32_t> all_lengths(const Problem& problem) {
  if (!problem.lengths.empty()) return problem.lengths;
  return std::vector<std::int32_t>(static_cast<std::size_t>(problem.batch), problem.len_k);
}

void check_splits(const Problem& problem) {
  if (problem.request.kind == KernelKind::decode) return;  // the launch knows more
  if (problem.num_splits != 0 || problem.split_size != 0) {
    base::fail(ErrorCode::invalid_argument, "{} splits of {} keys are given, but only decode splits keys",
               problem.num_splits, problem.split_size);
  }
}

void check_lengths(const Problem& problem) {
  if (problem.lengths.empty()) return;
  if (!problem.has_lengths()) {
    base::fail(ErrorCode::invalid_argument, "lengths are given, but only decode and ragged kernels take them");
  }
  if (problem.lengths.size() != static_cast<std::size_t>(problem.batch)) {
    base::fail(ErrorCode::invalid_argument, "lengths are {}: a batch of {} has as many", problem.lengths.size(),
               problem.batch);
  }
  for (const std::int32_t length : problem.lengths) require_between("a length", length, 0, problem.len_k);
}

void check_window(const Problem& problem) {
  constexpr int kMostKeys = 1 << 24;
  require_between("window_left", problem.window_left, -1, kMostKeys);
  require_between("window_right", problem.window_right, -1, kMostKeys);
  const bool has_window = problem.window_left >= 0 || problem.window_right >= 0;
  if (has_window && problem.request.config.window != Window::sliding) {
    base::fail(ErrorCode::invalid_argument, "window ({}, {}) is given but the config has no sliding window",
               problem.window_left, problem.window_right);
  }
}

}  // namespace

std::size_t Problem::q_elements() const { return elements(batch, len_q, heads_q, request.config.head_dim_qk); }
std::size_t Problem::k_elements() const { return elements(batch, key_rows(), heads_kv, request.config.head_dim_qk); }
std::size_t Problem::v_elements() const { return elements(batch, key_rows(), heads_kv, request.config.head_dim_v); }
std::size_t Problem::out_elements() const { return elements(batch, len_q, heads_q, request.config.head_dim_v); }
std::size_t Problem::rows() const { return elements(batch, len_q, heads_q, 1); }

std::size_t Problem::bias_elements() const {
  switch (request.config.bias) {
    case Bias::none:
      return 0;
    case Bias::additive:
      return elements(heads_q, len_q, len_k, 1);
    case Bias::mask:
      return elements(batch, len_q, len_k, 1);
  }
  return 0;
}

bool Problem::has_lengths() const { return request.kind == KernelKind::decode || request.config.ragged; }
int Problem::pages_of_a_sequence() const { return (len_k + page_size - 1) / page_size; }
int Problem::key_rows() const { return request.config.paged ? pages_of_a_sequence() * page_size : len_k; }

DType output_type(const AttentionConfig& config) { return config.output_f32 ? DType::f32 : config.dtype; }

int bias_element_bytes(const AttentionConfig& config) {
  return config.bias == Bias::mask ? 1 : plan::element_bytes(config.dtype);
}

void validate(const Problem& problem) {
  constexpr int kMostTokens = 1 << 24;
  if (problem.request.config.allow_tf32) {
    base::fail(ErrorCode::unsupported, "allow_tf32 is not supported here: float32 is checked as float32");
  }
  require_between("batch", problem.batch, 1, 1 << 16);
  require_between("len_q", problem.len_q, 1, kMostTokens);
  require_between("len_k", problem.len_k, 1, kMostTokens);
  require_between("heads_q", problem.heads_q, 1, 1 << 16);
  require_between("heads_kv", problem.heads_kv, 1, 1 << 16);
  require_between("page_size", problem.page_size, 1, kMostTokens);
  if (problem.heads_q % problem.heads_kv != 0) {
    base::fail(ErrorCode::invalid_argument, "heads_q {} is not a multiple of heads_kv {}", problem.heads_q,
               problem.heads_kv);
  }
  check_window(problem);
  check_splits(problem);
  check_lengths(problem);
}

int position_of(const Problem& problem, Lengths lengths, int query) {
  return problem.request.config.alignment == Alignment::bottom_right ? query + lengths.k - lengths.q : query;
}

KeyRange visible_keys(const Problem& problem, Lengths lengths, int query) {
  const AttentionConfig& config = problem.request.config;
  const int position = position_of(problem, lengths, query);
  KeyRange keys{0, lengths.k};
  if (config.causal) keys.end = std::min(keys.end, position + 1);
  if (config.window == Window::none) return keys;
  const bool fixed = config.window == Window::fixed;
  const int left = fixed ? config.window_left : problem.window_left;
  const int right = fixed ? config.window_right : problem.window_right;
  if (left >= 0) keys.first = std::max(keys.first, position - left);
  if (right >= 0) keys.end = std::min(keys.end, position + right + 1);
  return keys;
}

double flops(const Problem& problem) {
  const AttentionConfig& config = problem.request.config;
  const std::vector<std::int32_t> lengths = all_lengths(problem);
  const double keys = std::accumulate(lengths.begin(), lengths.end(), 0.0);
  const double all = 2.0 * problem.heads_q * problem.len_q * keys * (config.head_dim_qk + config.head_dim_v);
  return config.causal && problem.request.kind == KernelKind::forward ? all / 2 : all;
}

double kv_bytes(const Problem& problem) {
  const AttentionConfig& config = problem.request.config;
  double keys = 0;
  for (const std::int32_t length : all_lengths(problem)) keys += keys_seen(problem, {problem.len_q, length});
  return keys * problem.heads_kv * (config.head_dim_qk + config.head_dim_v) * plan::element_bytes(config.dtype);
}

std::string shape_text(const Problem& problem) {
  std::string text = fmt::format("{}×{}/{} heads", problem.batch, problem.heads_q, problem.heads_kv);
  if (problem.request.kind == KernelKind::forward || problem.len_q > 1) {
    text += fmt::format(", {} queries", problem.len_q);
  }
  text += fmt::format(", {} keys", problem.len_k);
  if (!problem.lengths.empty()) {
    const auto keys = std::accumulate(problem.lengths.begin(), problem.lengths.end(), std::int64_t{0});
    text += fmt::format(" at most, {} in all", keys);
  }
  if (problem.request.config.paged) text += fmt::format(", pages of {}", problem.page_size);
  return text;
}

}  // namespace kiln::tune
