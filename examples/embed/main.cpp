// A small engine around Kiln: reads its configuration, makes its own context, stream and memory, runs a prompt and
// then a decode loop through the attention of every layer. What other layers would compute is random here.

#include "attention_layers.hpp"
#include "config.hpp"
#include "gpu.hpp"

#include <chrono>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <random>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Random numbers of magnitude ½ to 1, as bits of the 16-bit type.
std::vector<std::uint16_t> random_values(std::size_t count, kiln::DType dtype, unsigned seed) {
  const bool half = dtype == kiln::DType::f16;
  const auto one_half = static_cast<std::uint16_t>(half ? 0x3800 : 0x3f00);
  const auto sign_and_mantissa = static_cast<std::uint16_t>(half ? 0x83ff : 0x807f);
  std::mt19937 engine(seed);
  std::vector<std::uint16_t> values(count);
  for (auto& value : values) {
    value = static_cast<std::uint16_t>((engine() & sign_and_mantissa) | one_half);
  }
  return values;
}

void fill(const Buffer& buffer, kiln::DType dtype, unsigned seed) {
  const auto values = random_values(buffer.bytes() / 2, dtype, seed);
  check(cuMemcpyHtoD(buffer.address(), values.data(), buffer.bytes()), "cuMemcpyHtoD");
}

/// Whether every value is finite and not all are zero.
bool looks_right(const Buffer& buffer, kiln::DType dtype) {
  std::vector<std::uint16_t> values(buffer.bytes() / 2);
  check(cuMemcpyDtoH(values.data(), buffer.address(), buffer.bytes()), "cuMemcpyDtoH");
  const unsigned exponent = dtype == kiln::DType::f16 ? 0x7c00 : 0x7f80;
  bool any = false;
  for (const unsigned value : values) {
    if ((value & exponent) == exponent) return false;
    any = any || (value & 0x7fffU) != 0;
  }
  return any;
}

/// One line, so that a slow first start explains itself.
void print_kernel(const char* what, const kiln::KernelInfo& info) {
  std::cout << what << ": " << to_string(info.request.config) << " for " << info.target << ", " << info.registers
            << " registers, "
            << (info.origin == kiln::Origin::compiled
                    ? "compiled in " + std::to_string(std::lround(info.compile_ms)) + " ms"
                    : std::string("from the cache"))
            << '\n';
}

int run(const Config& config) {
  const Context context(config.kiln.device < 0 ? 0 : config.kiln.device);
  const kiln::Runtime runtime(config.kiln);
  runtime.prepare(AttentionLayers::kernels(config.model), [](const kiln::Progress& progress) {
    std::cout << "kernels ready: " << progress.done << " of " << progress.total << '\n';
  });
  const AttentionLayers attention(config, runtime);
  print_kernel("prefill", attention.forward_info());
  print_kernel("decode", attention.decode_info());

  const Model& model = config.model;
  const auto row_bytes = static_cast<std::size_t>(model.heads_q) * static_cast<std::size_t>(model.head_dim) * 2;
  const auto batch = static_cast<std::size_t>(config.batch);
  const Buffer prompt_q(batch * static_cast<std::size_t>(config.prompt) * row_bytes);
  const Buffer prompt_out(prompt_q.bytes());
  const Buffer token_q(batch * row_bytes);
  const Buffer token_out(token_q.bytes());
  const Buffer lengths(batch * sizeof(std::int32_t));
  fill(prompt_q, model.dtype, 1);
  fill(token_q, model.dtype, 2);
  for (int layer = 0; layer < model.layers; ++layer) {
    fill(attention.keys(layer), model.dtype, 3);
    fill(attention.values(layer), model.dtype, 4);
  }

  const Stream stream;
  const auto prefill = [&] {
    for (int layer = 0; layer < model.layers; ++layer) attention.prefill(layer, prompt_q, prompt_out, stream.get());
  };
  prefill();  // warms up
  stream.synchronize();
  auto start = Clock::now();
  prefill();
  stream.synchronize();
  const double prefill_seconds = seconds_since(start);

  start = Clock::now();
  for (int token = 0; token < config.new_tokens; ++token) {
    const auto length = static_cast<unsigned>(config.prompt + token + 1);
    check(cuMemsetD32Async(lengths.address(), length, batch, stream.get()), "cuMemsetD32Async");
    for (int layer = 0; layer < model.layers; ++layer) {
      attention.decode(layer, token_q, token_out, lengths, stream.get());
    }
  }
  stream.synchronize();
  const double decode_seconds = seconds_since(start);

  if (!looks_right(prompt_out, model.dtype) || !looks_right(token_out, model.dtype)) {
    std::cerr << "the output has values that are not finite, or is all zero\n";
    return 1;
  }
  std::cout << "prefill: " << config.batch * config.prompt / prefill_seconds << " tokens/s\n"
            << "decode:  " << config.batch * config.new_tokens / decode_seconds << " tokens/s\n"
            << "(attention of " << model.layers << " layers only)\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(read_config(argc > 1 ? argv[1] : "engine.json"));
  } catch (const kiln::Error& error) {
    // The code is for a program that can act on it, the message a whole sentence for a person.
    std::cerr << "kiln, " << kiln::to_string(error.code()) << ": " << error.what() << '\n';
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
  }
  return 1;
}
