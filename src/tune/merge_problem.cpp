#include "tune/merge_problem.hpp"

#include "base/fail.hpp"
#include "cuda/graph.hpp"
#include "plan/kernel_config.hpp"
#include "tune/half.hpp"
#include "tune/host_data.hpp"
#include "tune/require.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

namespace kiln::tune {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kOneInEmpty = 7;

struct HostState {
  std::vector<std::byte> out;  ///< [batch, len, heads, head_dim_v]
  std::vector<float> lse;      ///< [batch, heads, len]
};

std::size_t row_bytes(const MergeProblem& problem) {
  return static_cast<std::size_t>(problem.config.head_dim_v) *
         static_cast<std::size_t>(plan::element_bytes(problem.config.dtype));
}

/// Where the row of an LSE has its out.
std::size_t out_row(const MergeProblem& problem, std::size_t lse_at) {
  const auto len = static_cast<std::size_t>(problem.len);
  const auto heads = static_cast<std::size_t>(problem.heads);
  const std::size_t token = lse_at % len;
  const std::size_t head = lse_at / len % heads;
  return (lse_at / len / heads * len + token) * heads + head;
}

HostState random_state(const MergeProblem& problem, std::uint64_t seed) {
  constexpr std::byte kNan{0xFF};  // repeated, a NaN of all three types
  HostState state{std::vector<std::byte>(problem.rows() * row_bytes(problem)), std::vector<float>(problem.rows())};
  fill_normal(state.out, problem.config.dtype, 2 * seed);
  fill_normal(std::as_writable_bytes(std::span(state.lse)), DType::f32, 2 * seed + 1);
  for (std::size_t at = seed % kOneInEmpty; at < state.lse.size(); at += kOneInEmpty) {
    state.lse[at] = -std::numeric_limits<float>::infinity();
    const auto row = std::span(state.out).subspan(out_row(problem, at) * row_bytes(problem), row_bytes(problem));
    std::ranges::fill(row, kNan);
  }
  return state;
}

std::vector<HostState> random_states(const MergeProblem& problem, std::uint64_t seed) {
  std::vector<HostState> states;
  for (int s = 0; s < problem.states; ++s) {
    states.push_back(random_state(problem, seed * kMostMergedStates + static_cast<std::uint64_t>(s)));
  }
  return states;
}

/// The states of a problem on the GPU, several times, and the result.
class Tensors {
 public:
  Tensors(const Gpu& gpu, const MergeProblem& problem, std::span<const HostState> states, int copies)
      : problem_(problem) {
    for (int copy = 0; copy < copies; ++copy) {
      for (const HostState& state : states) {
        out_.push_back(cuda::DeviceBuffer::of(gpu.driver(), std::span<const std::byte>(state.out)));
        lse_.push_back(cuda::DeviceBuffer::of(gpu.driver(), std::span<const float>(state.lse)));
      }
    }
    const auto element_bytes = static_cast<std::size_t>(plan::element_bytes(problem.config.out_dtype));
    result_ = cuda::DeviceBuffer(gpu.driver(),
                                 problem.rows() * static_cast<std::size_t>(problem.config.head_dim_v) * element_bytes);
    result_lse_ = cuda::DeviceBuffer(gpu.driver(), problem.rows() * sizeof(float));
    result_.fill(std::byte{0xFF});
    result_lse_.fill(std::byte{0xFF});
  }

  [[nodiscard]] MergeArgs args(int turn) const {
    const auto states = static_cast<std::size_t>(problem_.states);
    const std::size_t first = static_cast<std::size_t>(turn) * states % out_.size();
    const auto out = Strides::bshd(problem_.len, problem_.heads, problem_.config.head_dim_v);
    const auto lse = Strides::bhsd(problem_.len, problem_.heads, 1);
    MergeArgs args;
    for (std::size_t s = 0; s < states; ++s) {
      args.states[s] = {{out_[first + s].data(), out}, {lse_[first + s].as<float>(), lse}};
    }
    args.num_states = problem_.states;
    args.out = {result_.data(), out};
    args.lse = {result_lse_.as<float>(), lse};
    args.batch = problem_.batch;
    args.len = problem_.len;
    args.heads = problem_.heads;
    return args;
  }

  [[nodiscard]] HostOutputs download() const {
    std::vector<std::byte> out(result_.size_bytes());
    result_.download(std::span(out));
    const std::size_t elements = problem_.rows() * static_cast<std::size_t>(problem_.config.head_dim_v);
    HostOutputs outputs{std::vector<float>(elements), std::vector<float>(problem_.rows())};
    for (std::size_t i = 0; i < elements; ++i) outputs.out[i] = load_element(out, i, problem_.config.out_dtype);
    result_lse_.download(std::as_writable_bytes(std::span(outputs.lse)));
    return outputs;
  }

 private:
  MergeProblem problem_;
  std::vector<cuda::DeviceBuffer> out_;
  std::vector<cuda::DeviceBuffer> lse_;
  cuda::DeviceBuffer result_;
  cuda::DeviceBuffer result_lse_;
};

/// As check() knows a call: attention with the same output.
Problem as_attention(const MergeProblem& problem) {
  Problem out{.request = {.config = {.dtype = problem.config.out_dtype, .head_dim_v = problem.config.head_dim_v}},
              .batch = problem.batch,
              .len_q = problem.len,
              .heads_q = problem.heads};
  return out;
}

/// The definition, in the arithmetic of Real.
template <class Real>
RowValues merged(const MergeProblem& problem, std::span<const HostState> states, std::span<const Row> rows) {
  const auto dim = static_cast<std::size_t>(problem.config.head_dim_v);
  RowValues values{std::vector<double>(rows.size() * dim), std::vector<double>(rows.size(), -kInfinity)};
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const Row& row = rows[r];
    const auto head = static_cast<std::size_t>(row.batch) * static_cast<std::size_t>(problem.heads) +
                      static_cast<std::size_t>(row.head);
    const std::size_t lse_at = head * static_cast<std::size_t>(problem.len) + static_cast<std::size_t>(row.query);
    Real top = -std::numeric_limits<Real>::infinity();
    for (const HostState& state : states) top = std::max(top, static_cast<Real>(state.lse[lse_at]));
    if (std::isinf(top)) continue;
    Real sum = 0;
    std::vector<Real> x(dim);
    for (const HostState& state : states) {
      const Real weight = std::exp(static_cast<Real>(state.lse[lse_at]) - top);
      if (weight == 0) continue;
      sum += weight;
      const std::size_t first = out_row(problem, lse_at) * dim;
      for (std::size_t i = 0; i < dim; ++i) x[i] += weight * load_element(state.out, first + i, problem.config.dtype);
    }
    for (std::size_t i = 0; i < dim; ++i) values.out[r * dim + i] = static_cast<double>(x[i] / sum);
    values.lse[r] = static_cast<double>(top + std::log(sum));
  }
  return values;
}

int copies_against_l2(const MergeProblem& problem) {
  constexpr double kEnoughBytes = 256.0 * (1 << 20);
  return std::clamp(static_cast<int>(std::ceil(kEnoughBytes / bytes(problem))), 1, kDecodeCallsPerGraph);
}

}  // namespace

std::size_t MergeProblem::rows() const {
  return static_cast<std::size_t>(batch) * static_cast<std::size_t>(len) * static_cast<std::size_t>(heads);
}

void validate(const MergeProblem& problem) {
  constexpr int kMostTokens = 1 << 24;
  require_between("states", problem.states, 1, kMostMergedStates);
  require_between("batch", problem.batch, 1, 1 << 16);
  require_between("len_q", problem.len, 1, kMostTokens);
  require_between("heads_q", problem.heads, 1, 1 << 16);
}

double bytes(const MergeProblem& problem) {
  const auto& config = problem.config;
  const auto of_a_row = [&](DType dtype) {
    return static_cast<double>(config.head_dim_v * plan::element_bytes(dtype)) + sizeof(float);
  };
  return static_cast<double>(problem.rows()) * (problem.states * of_a_row(config.dtype) + of_a_row(config.out_dtype));
}

std::string shape_text(const MergeProblem& problem) {
  return fmt::format("{} state{}, {}×{}×{} rows", problem.states, problem.states == 1 ? "" : "s", problem.batch,
                     problem.len, problem.heads);
}

CheckResult check_merge(const Gpu& gpu, const KernelPtr& kernel, const MergeProblem& problem, std::size_t most_rows,
                        std::uint64_t seed) {
  const std::vector<HostState> states = random_states(problem, seed);
  const Tensors tensors(gpu, problem, states, 1);
  kernel->launch(gpu.stream(), tensors.args(0));
  gpu.synchronize();
  const Problem shape = as_attention(problem);
  auto rows = rows_to_check(shape, most_rows);
  RowValues exact = merged<double>(problem, states, rows);
  const double limit = allowed_error(merged<float>(problem, states, rows), exact, problem.config.out_dtype);
  return check({shape, std::move(rows), std::move(exact), limit}, tensors.download());
}

Summary measure_merge(const Gpu& gpu, Timer& timer, const KernelPtr& kernel, const MergeProblem& problem, int samples,
                      std::uint64_t seed, const std::function<void(int)>& progress) {
  const Tensors tensors(gpu, problem, random_states(problem, seed), copies_against_l2(problem));
  cuda::StreamCapture capture(gpu.driver(), gpu.stream());
  for (int i = 0; i < kDecodeCallsPerGraph; ++i) kernel->launch(gpu.stream(), tensors.args(i));
  const cuda::Graph graph(capture.finish());
  const auto sample = [&] {
    return timer.time([&](Stream stream) { graph.launch(stream); }, L2::cold) / kDecodeCallsPerGraph;
  };
  static_cast<void>(sample());  // the first one pays for loading
  std::vector<double> times;
  for (int i = 0; i < samples; ++i) {
    times.push_back(sample());
    if (progress) progress(i + 1);
  }
  return summarize(times);
}

}  // namespace kiln::tune
