#include "tune/device_tensors.hpp"

#include "plan/kernel_config.hpp"
#include "tune/half.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <vector>

namespace kiln::tune {
namespace {

using Fill = std::function<void(std::span<std::byte>)>;

/// Random data, made once in a piece of host memory and repeated: caches of many gigabytes would take longer to draw
/// than to measure.
cuda::DeviceBuffer random_buffer(const Gpu& gpu, std::size_t bytes, const Fill& fill) {
  constexpr std::size_t kPiece = std::size_t{1} << 25U;
  cuda::DeviceBuffer buffer(gpu.driver(), bytes);
  std::vector<std::byte> piece(std::min(bytes, kPiece));
  fill(piece);
  for (std::size_t at = 0; at < bytes; at += piece.size()) {
    buffer.upload(std::span(piece).first(std::min(piece.size(), bytes - at)), at);
  }
  return buffer;
}

cuda::DeviceBuffer normal_buffer(const Gpu& gpu, std::size_t elements, DType type, std::uint64_t seed) {
  return random_buffer(gpu, elements * static_cast<std::size_t>(plan::element_bytes(type)),
                       [&](std::span<std::byte> piece) { fill_normal(piece, type, seed); });
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
      bias_(buffer_of(gpu, inputs.bias)) {
  upload_small(gpu, inputs);
  make_outputs(gpu);
}

DeviceTensors::DeviceTensors(const Gpu& gpu, const Problem& problem, int copies, std::uint64_t seed)
    : problem_(problem), copies_(copies) {
  const AttentionConfig& config = problem.request.config;
  const auto times = static_cast<std::size_t>(copies);
  q_ = normal_buffer(gpu, problem.q_elements(), config.dtype, seed);
  k_ = normal_buffer(gpu, problem.k_elements() * times, config.dtype, seed + 1);
  v_ = normal_buffer(gpu, problem.v_elements() * times, config.dtype, seed + 2);
  if (config.bias == Bias::additive) bias_ = normal_buffer(gpu, problem.bias_elements(), config.dtype, seed + 3);
  if (config.bias == Bias::mask) {
    bias_ = random_buffer(gpu, problem.bias_elements(), [&](std::span<std::byte> piece) { fill_mask(piece, seed); });
  }
  upload_small(gpu, small_inputs(problem, seed));
  make_outputs(gpu);
}

void DeviceTensors::upload_small(const Gpu& gpu, const HostInputs& inputs) {
  lengths_ = buffer_of(gpu, inputs.lengths);
  lengths_q_ = buffer_of(gpu, inputs.lengths_q);
  pages_ = buffer_of(gpu, inputs.pages);
  alibi_slopes_ = buffer_of(gpu, inputs.alibi_slopes);
  sinks_ = buffer_of(gpu, inputs.sinks);
}

void DeviceTensors::make_outputs(const Gpu& gpu) {
  const int element_bytes = plan::element_bytes(output_type(problem_.request.config));
  out_ = cuda::DeviceBuffer(gpu.driver(), problem_.out_elements() * static_cast<std::size_t>(element_bytes));
  lse_ = cuda::DeviceBuffer(gpu.driver(), problem_.rows() * sizeof(float));
}

/// The keys or values of one copy. A page stands where a sequence does.
Input DeviceTensors::cache(const cuda::DeviceBuffer& copies, int head_dim, int turn) const {
  const std::size_t bytes = copies.size_bytes() / static_cast<std::size_t>(copies_);
  const int rows = problem_.request.config.paged ? problem_.page_size : problem_.len_k;
  return {copies.as<std::byte>() + static_cast<std::size_t>(turn % copies_) * bytes,
          Strides::bshd(rows, problem_.heads_kv, head_dim)};
}

BiasInput DeviceTensors::bias() const {
  const std::int64_t row = problem_.len_k;
  const std::int64_t slice = row * problem_.len_q;
  switch (problem_.request.config.bias) {
    case Bias::none:
      break;
    case Bias::additive:
      return {bias_.data(), {.batch = 0, .row = row, .head = slice}};
    case Bias::mask:
      return {bias_.data(), {.batch = slice, .row = row, .head = 0}};
  }
  return {};
}

Pages DeviceTensors::pages() const {
  if (!problem_.request.config.paged) return {};
  return {.table = pages_.as<std::int32_t>(),
          .row_stride = problem_.pages_of_a_sequence(),
          .page_size = problem_.page_size};
}

ForwardArgs DeviceTensors::forward_args(int turn) const {
  const AttentionConfig& config = problem_.request.config;
  ForwardArgs args{.q = {q_.data(), Strides::bshd(problem_.len_q, problem_.heads_q, config.head_dim_qk)},
                   .k = cache(k_, config.head_dim_qk, turn),
                   .v = cache(v_, config.head_dim_v, turn),
                   .out = {out_.data(), Strides::bshd(problem_.len_q, problem_.heads_q, config.head_dim_v)},
                   .lse = lse_.as<float>(),
                   .batch = problem_.batch,
                   .len_q = problem_.len_q,
                   .len_k = problem_.len_k,
                   .heads_q = problem_.heads_q,
                   .heads_kv = problem_.heads_kv};
  args.window_left = problem_.window_left;
  args.window_right = problem_.window_right;
  if (config.softcap) args.softcap = kSoftcap;
  args.alibi_slopes = alibi_slopes_.as<float>();
  args.sinks = sinks_.as<float>();
  args.bias = bias();
  args.lengths.seqused_q = lengths_q_.as<std::int32_t>();
  args.lengths.seqused_k = lengths_.as<std::int32_t>();
  args.pages = pages();
  return args;
}

DecodeArgs DeviceTensors::decode_args(int turn) const {
  const ForwardArgs args = forward_args(turn);
  DecodeArgs decode{.q = args.q,
                    .k_cache = args.k,
                    .v_cache = args.v,
                    .out = args.out,
                    .lse = args.lse,
                    .lengths = args.lengths.seqused_k,
                    .batch = args.batch,
                    .len_q = args.len_q,
                    .max_len_k = args.len_k,
                    .heads_q = args.heads_q,
                    .heads_kv = args.heads_kv};
  decode.window_left = args.window_left;
  decode.window_right = args.window_right;
  decode.softcap = args.softcap;
  decode.alibi_slopes = args.alibi_slopes;
  decode.sinks = args.sinks;
  decode.bias = args.bias;
  decode.seqused_q = args.lengths.seqused_q;
  decode.pages = args.pages;
  decode.num_splits = problem_.num_splits;
  decode.split_size = problem_.split_size;
  return decode;
}

void DeviceTensors::poison_outputs() {
  constexpr std::byte kNan{0xFF};  // repeated, a NaN of all three types
  out_.fill(kNan);
  lse_.fill(kNan);
}

HostOutputs DeviceTensors::download() const {
  const DType type = output_type(problem_.request.config);
  std::vector<std::byte> out(out_.size_bytes());
  out_.download(std::span(out));
  HostOutputs outputs{std::vector<float>(problem_.out_elements()), std::vector<float>(problem_.rows())};
  for (std::size_t i = 0; i < outputs.out.size(); ++i) outputs.out[i] = load_element(out, i, type);
  lse_.download(std::as_writable_bytes(std::span(outputs.lse)));
  return outputs;
}

int copies_against_l2(const Problem& problem, int most) {
  constexpr double kEnoughBytes = 256.0 * (1 << 20);
  return std::clamp(static_cast<int>(std::ceil(kEnoughBytes / std::max(kv_bytes(problem), 1.0))), 1, most);
}

}  // namespace kiln::tune
