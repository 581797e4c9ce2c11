#pragma once

#include "cuda/device_memory.hpp"
#include "cuda/driver.hpp"

#include <kiln/kiln.hpp>

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace kiln::bench {

inline float bf16_value(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U); }

/// One head of kLength tokens with small integers, exact in bf16; the first row's answer by hand.
class SmallProblem {
 public:
  static constexpr int kLength = 64;
  static constexpr int kDim = 128;

  explicit SmallProblem(const std::shared_ptr<const cuda::Driver>& driver) {
    for (std::size_t part = 0; part < 3; ++part)
      for (int i = 0; i < kLength * kDim; ++i) {
        const auto value = static_cast<float>((i * (static_cast<int>(part) + 3) + i / kDim * 5) % 7 - 3);
        host_[part].push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16U));
      }
    for (std::size_t part = 0; part < 3; ++part)
      device_[part] = cuda::DeviceBuffer::of(driver, std::span<const std::uint16_t>(host_[part]));
    device_[3] = cuda::DeviceBuffer(driver, host_[0].size() * 2);
  }

  [[nodiscard]] ForwardArgs args() const {
    const Strides strides = Strides::bshd(kLength, 1, kDim);
    return {.q = {device_[0].data(), strides},
            .k = {device_[1].data(), strides},
            .v = {device_[2].data(), strides},
            .out = {device_[3].data(), strides},
            .batch = 1,
            .len_q = kLength,
            .len_k = kLength,
            .heads_q = 1,
            .heads_kv = 1};
  }

  /// The output as it is now, once the stream is done.
  [[nodiscard]] std::vector<std::uint16_t> output() const {
    std::vector<std::uint16_t> out(host_[0].size());
    device_[3].download(std::as_writable_bytes(std::span(out)));
    return out;
  }
  /// Makes every element of the output a NaN, in the stream's order.
  void poison(Stream stream) { device_[3].fill_async(std::byte{0xff}, stream); }

  [[nodiscard]] bool right() const {
    const auto out = output();
    const auto value = [&](std::size_t part, int row, int c) {
      return bf16_value(host_[part][static_cast<std::size_t>(row) * kDim + static_cast<std::size_t>(c)]);
    };
    for (int c = 0; c < kDim; ++c) {
      double sum = 0;
      double weighted = 0;
      for (int j = 0; j < kLength; ++j) {
        double score = 0;
        for (int d = 0; d < kDim; ++d) score += value(0, 0, d) * value(1, j, d);
        const double weight = std::exp(score / std::sqrt(double{kDim}));
        sum += weight;
        weighted += weight * value(2, j, c);
      }
      if (!(std::abs(bf16_value(out[static_cast<std::size_t>(c)]) - weighted / sum) < 0.03)) return false;
    }
    return true;
  }

 private:
  std::array<std::vector<std::uint16_t>, 3> host_;
  std::array<cuda::DeviceBuffer, 4> device_;
};

}  // namespace kiln::bench
