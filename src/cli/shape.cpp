#include "cli/shape.hpp"

#include "base/fail.hpp"
#include "cli/selection.hpp"
#include "tune/host_data.hpp"

#include <algorithm>
#include <numeric>

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

int checked_page_size(const KernelRequest& request, int page_size) {
  if (page_size == 0) return tune::Problem{}.page_size;
  if (!request.config.paged) {
    base::fail(ErrorCode::invalid_argument, "--page-size is {}, but the kernel has no pages (--with paged)", page_size);
  }
  return page_size;
}

std::vector<std::int32_t> parse_lengths(const ShapeWords& words, int len_k) {
  constexpr std::uint64_t kSeed = 1;
  if (words.lengths.empty() || words.lengths == "even") return {};
  if (words.lengths != "zipf") {
    base::fail(ErrorCode::invalid_argument, "--lengths: \"{}\" is neither even nor zipf", words.lengths);
  }
  return tune::zipf_lengths(words.batch, len_k, kSeed);
}

}  // namespace

tune::Problem parse_problem(const KernelRequest& request, const ShapeWords& words) {
  const bool decode = request.kind == KernelKind::decode;
  const auto [heads_q, heads_kv] = parse_heads(words.heads, "--heads");
  const int len_q = words.len_q.empty() ? (decode ? 1 : 1024) : parse_length(words.len_q, "--len-q");
  const int usual_len_k = decode ? 4096 : len_q;
  const int len_k = words.len_k.empty() ? usual_len_k : parse_length(words.len_k, "--len-k");
  tune::Problem problem{.request = request,
                        .batch = words.batch,
                        .len_q = len_q,
                        .len_k = len_k,
                        .heads_q = heads_q,
                        .heads_kv = heads_kv,
                        .window_left = words.window_left,
                        .window_right = words.window_right,
                        .page_size = checked_page_size(request, words.page_size),
                        .num_splits = words.splits,
                        .split_size = words.split_size};
  problem.lengths = parse_lengths(words, len_k);
  tune::validate(problem);
  return problem;
}

tune::MergeProblem parse_merge_problem(const MergeConfig& config, const ShapeWords& words) {
  tune::MergeProblem problem{.config = config,
                             .states = words.states,
                             .batch = words.batch,
                             .len = words.len_q.empty() ? 1 : parse_length(words.len_q, "--len-q"),
                             .heads = parse_heads(words.heads, "--heads").q};
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

namespace {

/// As many new tokens as the rows hold with four query heads for each KV head; sixteen rows are for one.
std::vector<tune::Problem> usual_decode_problems(const KernelRequest& request) {
  constexpr int kGroup = 4;
  constexpr int kHeads = 8;
  const int rows = request.config.decode_rows;
  const int len_q = rows == AttentionConfig{}.decode_rows ? 1 : rows / kGroup;
  struct Cache {
    int batch;
    int keys;
  };
  std::vector<tune::Problem> problems;
  for (const auto [batch, keys] : {Cache{1, 1024}, Cache{8, 8192}, Cache{32, 4096}, Cache{128, 1024}}) {
    problems.push_back({.request = request,
                        .batch = batch,
                        .len_q = len_q,
                        .len_k = keys,
                        .heads_q = kHeads * kGroup,
                        .heads_kv = kHeads});
  }
  return problems;
}

}  // namespace

std::vector<tune::Problem> usual_problems(const KernelRequest& request) {
  if (request.kind == KernelKind::decode) return usual_decode_problems(request);
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

void add_shape(const tune::Problem& problem, base::Json::Object& json) {
  json["batch"] = problem.batch;
  json["len_q"] = problem.len_q;
  json["len_k"] = problem.len_k;
  json["heads_q"] = problem.heads_q;
  json["heads_kv"] = problem.heads_kv;
  if (problem.request.config.paged) json["page_size"] = problem.page_size;
  if (problem.num_splits > 0) json["num_splits"] = problem.num_splits;
  if (problem.split_size > 0) json["split_size"] = problem.split_size;
  if (problem.lengths.empty()) return;
  json["keys_in_all"] = std::accumulate(problem.lengths.begin(), problem.lengths.end(), std::uint64_t{0});
}

void add_shape(const tune::MergeProblem& problem, base::Json::Object& json) {
  json["states"] = problem.states;
  json["batch"] = problem.batch;
  json["len"] = problem.len;
  json["heads"] = problem.heads;
}

}  // namespace kiln::cli
