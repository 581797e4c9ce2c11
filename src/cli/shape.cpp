#include "cli/shape.hpp"

#include "base/fail.hpp"
#include "cli/selection.hpp"

#include <algorithm>

namespace kiln::cli {
namespace {

struct Heads {
  int q;
  int kv;
};

Heads parse_heads(std::string_view word, std::string_view option) {
  const std::size_t slash = word.find('/');
  const int q = parse_length(word.substr(0, slash), option);
  return {q, slash == std::string_view::npos ? q : parse_length(word.substr(slash + 1), option)};
}

}  // namespace

tune::Problem parse_problem(const KernelRequest& request, const ShapeWords& words) {
  const bool decode = request.kind == KernelKind::decode;
  const auto [heads_q, heads_kv] = parse_heads(words.heads, "--heads");
  const int len_q = words.len_q.empty() ? (decode ? 1 : 1024) : parse_length(words.len_q, "--len-q");
  const int usual_len_k = decode ? 4096 : len_q;
  const tune::Problem problem{.request = request,
                              .batch = words.batch,
                              .len_q = len_q,
                              .len_k = words.len_k.empty() ? usual_len_k : parse_length(words.len_k, "--len-k"),
                              .heads_q = heads_q,
                              .heads_kv = heads_kv,
                              .window_left = words.window_left,
                              .window_right = words.window_right};
  tune::validate(problem);
  return problem;
}

tune::Problem parse_shape(const KernelRequest& request, std::string_view word) {
  const std::size_t colon = word.find(':');
  std::string lengths(word.substr(0, colon));
  std::ranges::replace(lengths, 'x', ',');
  const auto parts = split_list(lengths);
  if (colon == std::string_view::npos || parts.size() != 3) {
    base::fail(ErrorCode::invalid_argument,
               "--shape: \"{}\" is not of the form 2x1024x4096:32/8 (batch, queries, keys, "
               "heads)",
               word);
  }
  const auto [heads_q, heads_kv] = parse_heads(word.substr(colon + 1), "--shape");
  const tune::Problem problem{.request = request,
                              .batch = parse_length(parts[0], "--shape"),
                              .len_q = parse_length(parts[1], "--shape"),
                              .len_k = parse_length(parts[2], "--shape"),
                              .heads_q = heads_q,
                              .heads_kv = heads_kv};
  tune::validate(problem);
  return problem;
}

std::vector<tune::Problem> usual_problems(const KernelRequest& request) {
  if (request.kind == KernelKind::decode) {
    return {{.request = request, .batch = 1, .len_q = 1, .len_k = 8192, .heads_q = 32, .heads_kv = 8},
            {.request = request, .batch = 8, .len_q = 1, .len_k = 8192, .heads_q = 32, .heads_kv = 8},
            {.request = request, .batch = 32, .len_q = 1, .len_k = 4096, .heads_q = 32, .heads_kv = 8}};
  }
  constexpr int kTokens = 16384;
  constexpr int kModelDim = 2048;
  const int heads = std::max(1, kModelDim / request.config.head_dim_qk);
  std::vector<tune::Problem> problems;
  for (const int length : {1024, 8192}) {
    problems.push_back({.request = request,
                        .batch = kTokens / length,
                        .len_q = length,
                        .len_k = length,
                        .heads_q = heads,
                        .heads_kv = heads});
  }
  return problems;
}

}  // namespace kiln::cli
