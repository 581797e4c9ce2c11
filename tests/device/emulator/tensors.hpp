// Tensors, the float64 reference and the comparison for kernels that run in the emulator.
#pragma once

#include "device/emulator/kernel.hpp"
#include "device/emulator/number.hpp"
#include "device/params.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace emulator {

inline constexpr double kInf = std::numeric_limits<double>::infinity();

inline float value_of(bool bf16, std::uint16_t bits) { return bf16 ? from_bf16(bits) : from_f16(bits); }
inline std::uint16_t bits_of(bool bf16, float x) { return bf16 ? to_bf16(x) : to_f16(x); }

struct alignas(16) Chunk {
  std::uint16_t elements[8];
};

/// [batch, rows, heads, dim], of which only `valid` rows of each sequence are numbers; the rest is NaN.
/// The memory ends with the last element, so that a sanitizer sees any read beyond.
class Tensor {
 public:
  Tensor(bool bf16, int batch, int rows, int heads, int dim)
      : bf16_(bf16),
        dim_(dim),
        strides{1LL * rows * heads * dim, 1LL * heads * dim, dim},
        memory_(static_cast<std::size_t>(batch) * static_cast<std::size_t>(rows * heads * dim / 8)) {
    std::uint16_t* end = data() + memory_.size() * 8;
    std::fill(data(), end, bits_of(bf16, NAN));
  }

  [[nodiscard]] std::vector<std::uint16_t> bits() {
    return memory_.empty() ? std::vector<std::uint16_t>() : std::vector(data(), data() + memory_.size() * 8);
  }
  std::uint16_t* data() { return memory_.empty() ? nullptr : memory_[0].elements; }
  std::uint16_t& at(int b, int row, int head, int i) {
    return data()[b * strides.batch + row * strides.row + head * strides.head + i];
  }
  double operator()(int b, int row, int head, int i) {
    return static_cast<double>(value_of(bf16_, at(b, row, head, i)));
  }

  /// Random numbers into rows 0 … rows − 1 of all heads of a sequence.
  void fill(std::mt19937& random, int b, int rows, int heads) {
    std::normal_distribution<float> normal;
    for (int row = 0; row < rows; ++row) {
      for (int head = 0; head < heads; ++head) {
        for (int i = 0; i < dim_; ++i) at(b, row, head, i) = bits_of(bf16_, normal(random));
      }
    }
  }

 private:
  bool bf16_;
  int dim_;

 public:
  kiln::device::Strides strides;

 private:
  std::vector<Chunk> memory_;
};

/// One row of the result, in float64.
struct ReferenceRow {
  std::vector<double> o;
  double lse;
};

/// `sees(j)` says whether key j is visible.
template <class Sees>
ReferenceRow reference_row(Tensor& q, Tensor& k, Tensor& v, int b, int row, int head, int kv_head, int len_k, int d_qk,
                           int d_v, double scale, Sees sees) {
  std::vector<double> scores(static_cast<std::size_t>(len_k), -kInf);
  double top = -kInf;
  for (int j = 0; j < len_k; ++j) {
    if (!sees(j)) continue;
    double dot = 0;
    for (int i = 0; i < d_qk; ++i) dot += q(b, row, head, i) * k(b, j, kv_head, i);
    scores[static_cast<std::size_t>(j)] = dot * scale;
    top = std::max(top, dot * scale);
  }
  ReferenceRow result{std::vector<double>(static_cast<std::size_t>(d_v), 0.0), -kInf};
  if (top == -kInf) return result;
  double sum = 0;
  for (int j = 0; j < len_k; ++j) {
    const double p = std::exp(scores[static_cast<std::size_t>(j)] - top);
    if (p == 0) continue;
    sum += p;
    for (int i = 0; i < d_v; ++i) result.o[static_cast<std::size_t>(i)] += p * v(b, j, kv_head, i);
  }
  for (double& x : result.o) x /= sum;
  result.lse = top + std::log(sum);
  return result;
}

/// P and O are each rounded once to 16 bits.
inline void expect_row(Tensor& o, float lse, const ReferenceRow& expected, bool bf16, int b, int row, int head) {
  const double tolerance = bf16 ? 0.02 : 0.0025;
  for (std::size_t i = 0; i < expected.o.size(); ++i) {
    const double got = o(b, row, head, static_cast<int>(i));
    if (expected.lse == -kInf) {
      ASSERT_EQ(got, 0) << "batch " << b << " row " << row << " head " << head << " column " << i;
    }
    ASSERT_NEAR(got, expected.o[i], tolerance * std::max(1.0, std::fabs(expected.o[i])))
        << "batch " << b << " row " << row << " head " << head << " column " << i;
  }
  if (expected.lse == -kInf) {
    ASSERT_EQ(lse, -INFINITY) << "batch " << b << " row " << row << " head " << head;
  } else {
    ASSERT_NEAR(static_cast<double>(lse), expected.lse, 1e-3) << "batch " << b << " row " << row << " head " << head;
  }
}

}  // namespace emulator
