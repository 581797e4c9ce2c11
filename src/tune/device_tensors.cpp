#include "tune/device_tensors.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace kiln::tune {
namespace {

/// Random bits of the dtype, made once in a piece of host memory and repeated: caches of many
/// gigabytes would take longer to draw than to measure.
cuda::DeviceBuffer random_buffer(const Gpu& gpu, std::size_t elements, DType type, std::uint64_t seed) {
  constexpr std::size_t kPiece = std::size_t{1} << 24U;
  cuda::DeviceBuffer buffer(gpu.driver(), elements * sizeof(std::uint16_t));
  std::vector<std::uint16_t> piece(std::min(elements, kPiece));
  fill_normal(piece, type, seed);
  for (std::size_t at = 0; at < elements; at += piece.size()) {
    const auto part = std::span(piece).first(std::min(piece.size(), elements - at));
    buffer.upload(std::as_bytes(part), at * sizeof(std::uint16_t));
  }
  return buffer;
}

template <class T>
cuda::DeviceBuffer buffer_of(const Gpu& gpu, const std::vector<T>& values) {
  return cuda::DeviceBuffer::of(gpu.driver(), std::span<const T>(values));
}

}  // namespace

DeviceTensors::DeviceTensors(const Gpu& gpu, const Problem& problem, const HostInputs& inputs)
    : problem_(problem),
      copies_(1),
      q_(buffer_of(gpu, inputs.q)),
      k_(buffer_of(gpu, inputs.k)),
      v_(buffer_of(gpu, inputs.v)),
      lengths_(buffer_of(gpu, inputs.lengths)) {
  make_outputs(gpu);
}

DeviceTensors::DeviceTensors(const Gpu& gpu, const Problem& problem, int copies, std::uint64_t seed)
    : problem_(problem), copies_(copies) {
  const DType type = problem.request.config.dtype;
  const auto times = static_cast<std::size_t>(copies);
  q_ = random_buffer(gpu, problem.q_elements(), type, seed);
  k_ = random_buffer(gpu, problem.k_elements() * times, type, seed + 1);
  v_ = random_buffer(gpu, problem.v_elements() * times, type, seed + 2);
  make_outputs(gpu);
}

void DeviceTensors::make_outputs(const Gpu& gpu) {
  out_ = cuda::DeviceBuffer(gpu.driver(), problem_.out_elements() * sizeof(std::uint16_t));
  lse_ = cuda::DeviceBuffer(gpu.driver(), problem_.rows() * sizeof(float));
}

ForwardArgs DeviceTensors::forward_args(int turn) const {
  const AttentionConfig& config = problem_.request.config;
  const auto copy = static_cast<std::size_t>(turn % copies_);
  const int heads_q = problem_.heads_q;
  const int heads_kv = problem_.heads_kv;
  return {.q = {q_.data(), Strides::bshd(problem_.len_q, heads_q, config.head_dim_qk)},
          .k = {k_.as<std::uint16_t>() + copy * problem_.k_elements(),
                Strides::bshd(problem_.len_k, heads_kv, config.head_dim_qk)},
          .v = {v_.as<std::uint16_t>() + copy * problem_.v_elements(),
                Strides::bshd(problem_.len_k, heads_kv, config.head_dim_v)},
          .out = {out_.data(), Strides::bshd(problem_.len_q, heads_q, config.head_dim_v)},
          .lse = lse_.as<float>(),
          .batch = problem_.batch,
          .len_q = problem_.len_q,
          .len_k = problem_.len_k,
          .heads_q = heads_q,
          .heads_kv = heads_kv,
          .scale = {},
          .window_left = problem_.window_left,
          .window_right = problem_.window_right};
}

DecodeArgs DeviceTensors::decode_args(int turn) const {
  const ForwardArgs args = forward_args(turn);
  return {.q = args.q,
          .k_cache = args.k,
          .v_cache = args.v,
          .out = args.out,
          .lse = args.lse,
          .lengths = lengths_.as<std::int32_t>(),
          .batch = args.batch,
          .max_len_k = args.len_k,
          .heads_q = args.heads_q,
          .heads_kv = args.heads_kv,
          .scale = {},
          .window_left = args.window_left,
          .num_splits = 0,
          .workspace = nullptr,
          .workspace_bytes = 0};
}

void DeviceTensors::poison_outputs() {
  constexpr std::byte kNan{0xFF};  // repeated, a NaN of all three types
  out_.fill(kNan);
  lse_.fill(kNan);
}

HostOutputs DeviceTensors::download() const {
  HostOutputs outputs{std::vector<std::uint16_t>(problem_.out_elements()), std::vector<float>(problem_.rows())};
  out_.download(std::as_writable_bytes(std::span(outputs.out)));
  lse_.download(std::as_writable_bytes(std::span(outputs.lse)));
  return outputs;
}

int copies_against_l2(const Problem& problem, int most) {
  constexpr double kEnoughBytes = 256.0 * (1 << 20);
  return std::clamp(static_cast<int>(std::ceil(kEnoughBytes / std::max(kv_bytes(problem), 1.0))), 1, most);
}

}  // namespace kiln::tune
