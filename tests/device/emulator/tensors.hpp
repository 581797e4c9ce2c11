// Tensors, the float64 reference and the comparison for kernels that run in the emulator.
#pragma once

#include "device/emulator/kernel.hpp"
#include "device/emulator/number.hpp"
#include "device/params.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace emulator {

inline constexpr double kInf = std::numeric_limits<double>::infinity();

inline float value_of(Number type, std::uint16_t bits) {
  return type == Number::bf16 ? from_bf16(bits) : from_f16(bits);
}
inline std::uint16_t bits_of(Number type, float x) { return type == Number::bf16 ? to_bf16(x) : to_f16(x); }

struct alignas(16) Chunk {
  unsigned char bytes[16];
};

/// [batch, rows, heads, dim], of which only `valid` rows of each sequence are numbers; the rest is NaN.
/// The memory ends with the last element, so that a sanitizer sees any read beyond.
class Tensor {
 public:
  Tensor(Number type, int batch, int rows, int heads, int dim)
      : type_(type),
        dim_(dim),
        strides{1LL * rows * heads * dim, 1LL * heads * dim, dim},
        memory_(static_cast<std::size_t>(batch * rows * heads * dim) * element_bytes() / sizeof(Chunk)) {
    for (std::size_t i = 0; i < memory_.size() * sizeof(Chunk) / element_bytes(); ++i) write(i, NAN);
  }

  /// All of the memory.
  [[nodiscard]] std::vector<std::uint16_t> bits() {
    std::vector<std::uint16_t> out(memory_.size() * sizeof(Chunk) / sizeof(std::uint16_t));
    std::memcpy(out.data(), memory_.data(), memory_.size() * sizeof(Chunk));
    return out;
  }
  void* data() { return memory_.data(); }
  void set(int b, int row, int head, int i, float x) { write(index(b, row, head, i), x); }
  double operator()(int b, int row, int head, int i) { return static_cast<double>(read(index(b, row, head, i))); }

  /// Random numbers into rows 0 … rows − 1 of all heads of a sequence.
  void fill(std::mt19937& random, int b, int rows, int heads) {
    std::normal_distribution<float> normal;
    for (int row = 0; row < rows; ++row) {
      for (int head = 0; head < heads; ++head) {
        for (int i = 0; i < dim_; ++i) set(b, row, head, i, normal(random));
      }
    }
  }

 private:
  [[nodiscard]] std::size_t element_bytes() const {
    return type_ == Number::f32 ? sizeof(float) : sizeof(std::uint16_t);
  }
  [[nodiscard]] std::size_t index(int b, int row, int head, int i) const {
    return static_cast<std::size_t>(b * strides.batch + row * strides.row + head * strides.head + i);
  }
  void write(std::size_t at, float x) {
    const std::uint16_t bits = bits_of(type_, x);
    std::memcpy(memory_[0].bytes + at * element_bytes(), type_ == Number::f32 ? static_cast<const void*>(&x) : &bits,
                element_bytes());
  }
  float read(std::size_t at) {
    const unsigned char* from = memory_[0].bytes + at * element_bytes();
    if (type_ == Number::f32) return *reinterpret_cast<const float*>(from);
    return value_of(type_, *reinterpret_cast<const std::uint16_t*>(from));
  }

  Number type_;
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

/// 16 bit: P and O are each rounded once. One pass of TF32 rounds what is multiplied as f16 does.
inline double tolerance_of(const KernelFacts& kernel) {
  switch (kernel.allow_tf32 ? Number::f16 : kernel.type) {
    case Number::bf16:
      return 0.02;
    case Number::f16:
      return 0.0025;
    case Number::f32:
      return 4e-6;
  }
  return 0;
}

inline void expect_row(Tensor& o, float lse, const ReferenceRow& expected, double tolerance, int b, int row, int head) {
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
