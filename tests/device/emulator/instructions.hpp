// The instructions of device/ptx.cuh and the built-ins that the kernels use, for the host. Fragment
// layouts follow the PTX manual and are written here a second time on purpose.
#pragma once

#include "device/base.cuh"
#include "device/emulator/machine.hpp"
#include "device/emulator/number.hpp"

#include <bit>
#include <cmath>
#include <stdexcept>

#define __global__
#define __shared__
#define __grid_constant__
#define __launch_bounds__(threads, blocks)

inline void __syncthreads(std::source_location site = std::source_location::current()) {
  emulator::block_barrier(site);
}
inline int __syncthreads_or(int value, std::source_location site = std::source_location::current()) {
  return emulator::block_any(value != 0, site);
}
inline void __syncwarp(std::source_location site = std::source_location::current()) { emulator::warp_barrier(site); }

inline float __shfl_xor_sync(unsigned, float x, int mask) {
  const auto all = emulator::warp_exchange({std::bit_cast<std::uint32_t>(x)});
  return std::bit_cast<float>(all[static_cast<std::size_t>(emulator::lane() ^ mask)][0]);
}

/// A collective in which every lane names the lane whose value it wants.
inline std::uint32_t shuffled(std::uint32_t x, int source) {
  return emulator::warp_exchange({x})[static_cast<std::size_t>(source)][0];
}
inline int __shfl_sync(unsigned, int x, int source) {
  return static_cast<int>(shuffled(static_cast<std::uint32_t>(x), source));
}
inline int __shfl_up_sync(unsigned, int x, unsigned distance) {
  const int source = emulator::lane() - static_cast<int>(distance);
  return static_cast<int>(shuffled(static_cast<std::uint32_t>(x), source < 0 ? emulator::lane() : source));
}
inline unsigned __ballot_sync(unsigned, bool value) {
  unsigned lanes = 0;
  const auto& all = emulator::warp_exchange({value ? 1u : 0u});
  for (std::size_t lane = 0; lane < all.size(); ++lane) lanes |= all[lane][0] << lane;
  return lanes;
}
inline int __ffs(int x) { return std::countr_zero(static_cast<unsigned>(x)) + (x == 0 ? -31 : 1); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }

inline int __any_sync(unsigned, bool value) {
  const auto all = emulator::warp_exchange({value ? 1u : 0u});
  for (const auto& words : all) {
    if (words[0] != 0) return 1;
  }
  return 0;
}

namespace kiln::device::ptx {

inline u32 cvta_to_shared(const void* pointer) { return emulator::shared_address(pointer); }
inline void cp_async_cg_16(u32 dst, const void* src, u32 bytes) { emulator::copy(dst, src, bytes); }
inline void cp_async_cg_16(u32 dst, const void* src) { emulator::copy(dst, src, 16); }
inline void cp_async_commit_group() { emulator::commit_copies(); }
template <i32 kPending>
void cp_async_wait_group() {
  emulator::wait_copies(kPending);
}

inline void griddepcontrol_launch_dependents() {}
inline void griddepcontrol_wait() {}

inline u32 ld_shared_b32(u32 address) {
  if (address % 4 != 0) throw std::runtime_error("misaligned word");
  return *reinterpret_cast<const volatile u32*>(emulator::shared_pointer(address));
}

inline void st_global_v4(void* address, const u32 (&x)[4]) {
  if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) throw std::runtime_error("misaligned words");
  for (int i = 0; i < 4; ++i) static_cast<u32*>(address)[i] = x[i];
}

/// Each lane reads one row of the four 8×8 matrices, lanes 8m … 8m + 7 those of matrix m, and gets two
/// elements of each.
template <bool kTranspose>
void ldmatrix(u32 (&d)[4], u32 address) {
  if (address % 16 != 0) throw std::runtime_error("misaligned row of a matrix");
  // Volatile as the instruction is: it reads even if the result is not used.
  const auto* row = reinterpret_cast<const volatile u32*>(emulator::shared_pointer(address));
  const auto& rows = emulator::warp_exchange({row[0], row[1], row[2], row[3]});
  const auto element = [&](int m, int i, int j) {
    return static_cast<u16>(rows[static_cast<unsigned>(8 * m + i)][static_cast<unsigned>(j / 2)] >> j % 2 * 16);
  };
  const int group = emulator::lane() / 4;
  const int pair = emulator::lane() % 4 * 2;
  for (int m = 0; m < 4; ++m) {
    const u16 low = kTranspose ? element(m, pair, group) : element(m, group, pair);
    const u16 high = kTranspose ? element(m, pair + 1, group) : element(m, group, pair + 1);
    d[m] = static_cast<u32>(low) | static_cast<u32>(high) << 16;
  }
}
inline void ldmatrix_x4(u32 (&d)[4], u32 address) { ldmatrix<false>(d, address); }
inline void ldmatrix_x4_trans(u32 (&d)[4], u32 address) { ldmatrix<true>(d, address); }

/// Row `row` of A, from the registers of the four lanes that hold it: registers 0 and 1 are rows r and
/// r + 8 of the left 8 columns, 2 and 3 of the right 8.
template <bool kBf16>
std::array<float, 16> a_row(const std::array<emulator::Words, 32>& all, int row) {
  std::array<float, 16> values;
  for (int k = 0; k < 16; ++k) {
    const u32 pair = all[static_cast<unsigned>(row % 8 * 4 + k % 8 / 2)][static_cast<unsigned>(row / 8 + k / 8 * 2)];
    values[static_cast<std::size_t>(k)] = emulator::from_bits<kBf16>(static_cast<std::uint16_t>(pair >> k % 2 * 16));
  }
  return values;
}

/// Column `column` of B: register 0 holds the upper 8 rows, 1 the lower 8.
template <bool kBf16>
std::array<float, 16> b_column(const std::array<emulator::Words, 32>& all, int column) {
  std::array<float, 16> values;
  for (int k = 0; k < 16; ++k) {
    const u32 pair = all[static_cast<unsigned>(column * 4 + k % 8 / 2)][static_cast<unsigned>(4 + k / 8)];
    values[static_cast<std::size_t>(k)] = emulator::from_bits<kBf16>(static_cast<std::uint16_t>(pair >> k % 2 * 16));
  }
  return values;
}

/// A lane's results: rows lane / 4 and that + 8, columns 2 · (lane % 4) and the next.
template <bool kBf16>
void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  const auto all = emulator::warp_exchange({a[0], a[1], a[2], a[3], b0, b1});
  const int group = emulator::lane() / 4;
  const int pair = emulator::lane() % 4 * 2;
  const std::array<float, 16> rows[2] = {a_row<kBf16>(all, group), a_row<kBf16>(all, group + 8)};
  const std::array<float, 16> columns[2] = {b_column<kBf16>(all, pair), b_column<kBf16>(all, pair + 1)};
  for (int i = 0; i < 4; ++i) {
    for (std::size_t k = 0; k < 16; ++k) d[i] += rows[i / 2][k] * columns[i % 2][k];
  }
}
inline void mma_m16n8k16_f16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { mma<false>(d, a, b0, b1); }
inline void mma_m16n8k16_bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { mma<true>(d, a, b0, b1); }

/// What of a float TF32 has: the mma cuts off the rest.
inline float tf32(u32 bits) { return std::bit_cast<float>(bits & ~0x1fffu); }

/// As above with one element in a register, 4 columns of A and 4 rows of B in place of 8.
inline void mma_m16n8k8_tf32(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  const auto all = emulator::warp_exchange({a[0], a[1], a[2], a[3], b0, b1});
  const int group = emulator::lane() / 4;
  const int pair = emulator::lane() % 4 * 2;
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 8; ++k) {
      const u32 in_a = all[static_cast<unsigned>(group * 4 + k % 4)][static_cast<unsigned>(i / 2 + k / 4 * 2)];
      const u32 in_b = all[static_cast<unsigned>((pair + i % 2) * 4 + k % 4)][static_cast<unsigned>(4 + k / 4)];
      d[i] += tf32(in_a) * tf32(in_b);
    }
  }
}

template <bool kBf16>
u32 pair_of(float high, float low) {
  return static_cast<u32>(emulator::to_bits<kBf16>(high)) << 16 | emulator::to_bits<kBf16>(low);
}
inline u32 cvt_rn_f16x2_f32(float high, float low) { return pair_of<false>(high, low); }
inline u32 cvt_rn_bf16x2_f32(float high, float low) { return pair_of<true>(high, low); }
inline float cvt_f32_f16(u16 bits) { return emulator::from_f16(bits); }
inline float ex2_approx_ftz_f32(float x) { return std::exp2(x); }
inline float lg2_approx_ftz_f32(float x) { return std::log2(x); }
inline float rcp_approx_ftz_f32(float x) { return 1.0f / x; }
inline u32 mov_tid_x() { return threadIdx.x; }
inline u32 mov_b32(u32 x) { return x; }
inline i32 atom_add_acq_rel_gpu(i32* address, i32 value) {
  return emulator::atomic_add_acquire_release(address, value);
}

}  // namespace kiln::device::ptx
