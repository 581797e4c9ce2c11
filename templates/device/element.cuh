// The two 16-bit element types behind one name each for what the kernels do with them.
#pragma once

#include "device/base.cuh"
#include "device/ptx.cuh"

namespace kiln::device {

/// Two floats, rounded; `first` has the lower address.
template <bool kBf16>
KILN_DEVICE u32 pack(float first, float second) {
  if constexpr (kBf16) {
    return ptx::cvt_rn_bf16x2_f32(second, first);
  } else {
    return ptx::cvt_rn_f16x2_f32(second, first);
  }
}

template <bool kBf16>
KILN_DEVICE float unpack(u16 bits) {
  if constexpr (kBf16) {
    return __uint_as_float(static_cast<u32>(bits) << 16);
  } else {
    return ptx::cvt_f32_f16(bits);
  }
}

/// d[16×8] += a[16×16] · b[16×8]
template <bool kBf16>
KILN_DEVICE void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  if constexpr (kBf16) {
    ptx::mma_m16n8k16_bf16(d, a, b0, b1);
  } else {
    ptx::mma_m16n8k16_f16(d, a, b0, b1);
  }
}

}  // namespace kiln::device
