#include "tune/problem.hpp"

#include "base/fail.hpp"
#include "plan/kernel_config.hpp"
#include "plan/names.hpp"

#include <fmt/format.h>

namespace kiln::tune {
namespace {

std::size_t elements(int batch, int length, int heads, int dim) {
  return static_cast<std::size_t>(batch) * static_cast<std::size_t>(length) * static_cast<std::size_t>(heads) *
         static_cast<std::size_t>(dim);
}

void require_between(const char* name, int value, int least, int most) {
  if (value < least || value > most) {
    base::fail(ErrorCode::invalid_argument, "{} is {}: it must be between {} and {}", name, value, least, most);
  }
}

/// What no problem is made for: such kernels have the GPU suite.
void refuse_features(const AttentionConfig& config) {
  for (const auto& flag : plan::flag_names()) {
    if (config.*flag.member && flag.member != &AttentionConfig::causal) {
      base::fail(ErrorCode::unsupported, "{} is not supported here: problems are made and checked without it",
                 flag.name);
    }
  }
  if (config.bias != Bias::none || config.window == Window::fixed) {
    base::fail(ErrorCode::unsupported, "{} is not supported here: problems are made and checked without it",
               config.bias != Bias::none ? "a bias" : "a fixed window");
  }
}

}  // namespace

std::size_t Problem::q_elements() const { return elements(batch, len_q, heads_q, request.config.head_dim_qk); }
std::size_t Problem::k_elements() const { return elements(batch, len_k, heads_kv, request.config.head_dim_qk); }
std::size_t Problem::v_elements() const { return elements(batch, len_k, heads_kv, request.config.head_dim_v); }
std::size_t Problem::out_elements() const { return elements(batch, len_q, heads_q, request.config.head_dim_v); }
std::size_t Problem::rows() const { return elements(batch, len_q, heads_q, 1); }

void validate(const Problem& problem) {
  constexpr int kMostTokens = 1 << 24;
  if (problem.request.config.dtype == DType::f32) {
    base::fail(ErrorCode::unsupported,
               "dtype f32 is not supported here: problems are made and checked in f16 and bf16");
  }
  refuse_features(problem.request.config);
  require_between("batch", problem.batch, 1, 1 << 16);
  require_between("len_q", problem.len_q, 1, kMostTokens);
  require_between("len_k", problem.len_k, 1, kMostTokens);
  require_between("heads_q", problem.heads_q, 1, 1 << 16);
  require_between("heads_kv", problem.heads_kv, 1, 1 << 16);
  require_between("window_left", problem.window_left, -1, kMostTokens);
  require_between("window_right", problem.window_right, -1, kMostTokens);
  if (problem.heads_q % problem.heads_kv != 0) {
    base::fail(ErrorCode::invalid_argument, "heads_q {} is not a multiple of heads_kv {}", problem.heads_q,
               problem.heads_kv);
  }
  if (problem.request.kind == KernelKind::decode && problem.len_q != 1) {
    base::fail(ErrorCode::invalid_argument, "len_q is {}: a decode call has exactly 1 query", problem.len_q);
  }
  const bool has_window = problem.window_left >= 0 || problem.window_right >= 0;
  if (has_window && problem.request.config.window == Window::none) {
    base::fail(ErrorCode::invalid_argument, "window ({}, {}) is given but the config has no sliding window",
               problem.window_left, problem.window_right);
  }
}

double flops(const Problem& problem) {
  const AttentionConfig& config = problem.request.config;
  const double all = 2.0 * problem.batch * problem.heads_q * problem.len_q * static_cast<double>(problem.len_k) *
                     (config.head_dim_qk + config.head_dim_v);
  return config.causal && problem.request.kind == KernelKind::forward ? all / 2 : all;
}

double kv_bytes(const Problem& problem) {
  const double element_bytes = plan::element_bytes(problem.request.config.dtype);
  return element_bytes * static_cast<double>(problem.k_elements() + problem.v_elements());
}

std::string shape_text(const Problem& problem) {
  const std::string heads = fmt::format("{}×{}/{} heads", problem.batch, problem.heads_q, problem.heads_kv);
  if (problem.request.kind == KernelKind::decode) return fmt::format("{}, {} keys", heads, problem.len_k);
  return fmt::format("{}, {} queries, {} keys", heads, problem.len_q, problem.len_k);
}

}  // namespace kiln::tune
