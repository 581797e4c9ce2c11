// Softmax over keys that arrive tile by tile, for the rows of a warp's mma results.
//
// Each row keeps a reference m (a score), and l = Σ 2^(scale·(s − m)) over the keys seen. Usually m is
// the row's maximum. It follows a growing maximum only once the exponents would pass
// rescale_threshold(): most tiles then leave O as it is, and powers up to 2^8 lose nothing in fp32 sums
// or in 16-bit P, whose relative precision doesn't depend on the exponent.
#pragma once

#include "device/base.cuh"
#include "device/element.cuh"
#include "device/fragment.cuh"
#include "device/ptx.cuh"

namespace kiln::device {

/// What m is before the first key: below every finite score, so that a key's growth over it is seen, and
/// itself finite, so that the −inf of an unseen key minus it stays −inf.
KILN_DEVICE consteval float before_keys() { return -3e38f; }
KILN_DEVICE consteval float ln2() { return 0.693147180559945309f; }
KILN_DEVICE consteval float rescale_threshold() { return 8.0f; }
/// scale·s − scale·m as one fma is off by half an ulp of scale·m: nothing for ordinary scores, but the
/// largest key must get exactly 1 however large its score. Beyond this, subtract first.
KILN_DEVICE consteval float fused_limit() { return 1024.0f; }
inline constexpr u32 kAllLanes = 0xffffffffu;

/// The scale of scores as the kernel uses it: positive, with a minus sign moved into Q. A maximum of raw
/// scores is then one of scaled scores, and −inf stays −inf where the caller's scale is 0.
struct ScoreScale {
  float magnitude;
  bool negate_q;

  KILN_DEVICE explicit ScoreScale(float scale_log2)
      : magnitude(fmaxf(fabsf(scale_log2), 1e-37f)), negate_q(scale_log2 < 0) {}
};

KILN_DEVICE float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}

KILN_DEVICE float quad_sum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

/// kBlocks blocks of 16 rows. Row r of a block is the lane's accumulators 2r and 2r + 1.
template <i32 kBlocks>
struct OnlineSoftmax {
  float m[kBlocks][kRowsPerLane];
  float l[kBlocks][kRowsPerLane];  // of this lane's columns, until finish()
  float scale;

  KILN_DEVICE explicit OnlineSoftmax(float scale_log2) : scale(scale_log2) {
    for_rows([&](i32 b, i32 r) {
      m[b][r] = before_keys();
      l[b][r] = 0;
    });
  }

  /// Turns scores into exponentials and keeps m, l and O in step. A score of −inf is a key not seen.
  template <i32 kScoreBlocks, i32 kOutputBlocks>
  KILN_DEVICE void update(float (&s)[kBlocks][kScoreBlocks][kAccumulators],
                          float (&o)[kBlocks][kOutputBlocks][kAccumulators]) {
    follow_maximum(s, o);
    float origin[kBlocks][kRowsPerLane];
    bool huge = false;
    for_rows([&](i32 b, i32 r) {
      origin[b][r] = m[b][r];
      huge |= fabsf(origin[b][r] * scale) > fused_limit();
    });
    if (__any_sync(kAllLanes, huge)) {
      for_elements(s, [&](i32 b, i32 r, float& x) { x -= origin[b][r]; });
      for_rows([&](i32 b, i32 r) { origin[b][r] = 0; });
    }
    for_rows([&](i32 b, i32 r) { origin[b][r] *= -scale; });
    for_elements(s, [&](i32 b, i32 r, float& x) {
      x = ptx::ex2_approx_ftz_f32(fmaf(x, scale, origin[b][r]));
      l[b][r] += x;
    });
  }

  /// Makes l the sum over whole rows.
  KILN_DEVICE void finish() {
    for_rows([&](i32 b, i32 r) { l[b][r] = quad_sum(l[b][r]); });
  }

  /// A sink is a key with a value of 0 and a logit of its own, to base 2: `sink(block, row)`. After finish(), once.
  template <i32 kOutputBlocks, class Sink>
  KILN_DEVICE void add_sinks(float (&o)[kBlocks][kOutputBlocks][kAccumulators], Sink sink) {
    float correction[kBlocks][kRowsPerLane];
    for_rows([&](i32 b, i32 r) {
      const float logit = sink(b, r);
      const float before = fmaxf(m[b][r] * scale, before_keys());  // finite, so that −inf minus it is no NaN
      m[b][r] = fmaxf(before, logit);
      correction[b][r] = ptx::ex2_approx_ftz_f32(before - m[b][r]);
      l[b][r] = l[b][r] * correction[b][r] + ptx::ex2_approx_ftz_f32(logit - m[b][r]);
    });
    for_elements(o, [&](i32 b, i32 r, float& x) { x *= correction[b][r]; });
    scale = 1;  // of what m is now
  }

  /// Logarithm to base 2 of the sum of exponentials of a row; −inf if it saw no key. After finish().
  KILN_DEVICE float lse_log2(i32 block, i32 row) const {
    const float sum = l[block][row];
    return sum == 0.0f ? minus_inf() : m[block][row] * scale + ptx::lg2_approx_ftz_f32(sum);
  }

 private:
  template <class F>
  KILN_DEVICE static void for_rows(F f) {
#pragma unroll
    for (i32 b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (i32 r = 0; r < kRowsPerLane; ++r) f(b, r);
    }
  }

  template <i32 kColumnBlocks, class F>
  KILN_DEVICE static void for_elements(float (&x)[kBlocks][kColumnBlocks][kAccumulators], F f) {
#pragma unroll
    for (i32 b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (i32 n = 0; n < kColumnBlocks; ++n) {
#pragma unroll
        for (i32 i = 0; i < kAccumulators; ++i) f(b, i / 2, x[b][n][i]);
      }
    }
  }

  template <i32 kScoreBlocks, i32 kOutputBlocks>
  KILN_DEVICE void follow_maximum(float (&s)[kBlocks][kScoreBlocks][kAccumulators],
                                  float (&o)[kBlocks][kOutputBlocks][kAccumulators]) {
    float top[kBlocks][kRowsPerLane];
    for_rows([&](i32 b, i32 r) { top[b][r] = minus_inf(); });
    for_elements(s, [&](i32 b, i32 r, float& x) { top[b][r] = fmaxf(top[b][r], x); });
    bool grown = false;
    for_rows([&](i32 b, i32 r) {
      top[b][r] = quad_max(top[b][r]);
      grown |= (top[b][r] - m[b][r]) * scale > rescale_threshold();
    });
    if (!__any_sync(kAllLanes, grown)) return;
    float correction[kBlocks][kRowsPerLane];
    for_rows([&](i32 b, i32 r) {
      top[b][r] = fmaxf(m[b][r], top[b][r]);
      correction[b][r] = ptx::ex2_approx_ftz_f32((m[b][r] - top[b][r]) * scale);
      m[b][r] = top[b][r];
      l[b][r] *= correction[b][r];
    });
    for_elements(o, [&](i32 b, i32 r, float& x) { x *= correction[b][r]; });
  }
};

}  // namespace kiln::device
