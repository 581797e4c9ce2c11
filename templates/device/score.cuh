// What happens to scores between the product q · k and the softmax, but for the mask of positions:
// soft cap, ALiBi, a bias tensor, a mask tensor. Without any of them scores stay raw and the softmax scales them.
#pragma once

#include "device/base.cuh"
#include "device/element.cuh"
#include "device/fragment.cuh"
#include "device/online_softmax.cuh"
#include "device/params.cuh"
#include "device/ptx.cuh"

namespace kiln::device {

KILN_DEVICE consteval float log2_e() { return 1.44269504088896341f; }

/// What the kernel was compiled for.
struct ScoreKind {
  bool softcap;
  bool alibi;
  bool bias;
  bool mask;

  KILN_DEVICE constexpr bool changes_scores() const { return softcap || alibi || bias || mask; }
  /// Sums need scores in the softmax's own unit.
  KILN_DEVICE constexpr bool scales_scores() const { return softcap || alibi || bias; }
};

/// tanh to a few units in 10⁻⁷ of 1: the exponent of a large cap times it must be right.
KILN_DEVICE float tanh_exact(float x) {
  const float e = ptx::ex2_approx_ftz_f32(x * (2 * log2_e()));  // e^(2x); inf gives 1, 0 gives −1
  return 1.0f - 2.0f * ptx::rcp_approx_ftz_f32(e + 1.0f);
}

/// The row of a lane whose scores are changed.
struct ScoreRow {
  i32 position;      // i + δ: the key that the query stands at
  float slope;       // ALiBi's, times log2(e)
  const void* bias;  // element of key 0
};

/// Of one query of one head, which stands at key query + δ.
template <ScoreKind kKind>
KILN_DEVICE ScoreRow make_score_row(const AttentionParams& p, i32 batch, i32 head, i32 query, i32 delta) {
  ScoreRow row{query + delta, 0.0f, nullptr};
  if constexpr (kKind.alibi) row.slope = p.alibi_slopes[batch * p.alibi_batch_stride + head] * log2_e();
  if constexpr (kKind.bias || kKind.mask) {
    const i64 element = batch * p.bias_strides.batch + head * p.bias_strides.head + query * p.bias_strides.row;
    row.bias = static_cast<const char*>(p.bias) + element * (kKind.bias ? Element::kBytes : 1);
  }
  return row;
}

/// `row_of(block, row_of_lane)` gives a ScoreRow. Keys at or beyond len_k are not looked up.
template <ScoreKind kKind, i32 kBlocks, i32 kScoreBlocks, class RowOf>
KILN_DEVICE void change_scores(float (&s)[kBlocks][kScoreBlocks][kAccumulators], const AttentionParams& p, float scale,
                               u32 lane, i32 first_key, i32 len_k, RowOf row_of) {
#pragma unroll
  for (i32 b = 0; b < kBlocks; ++b) {
#pragma unroll
    for (i32 r = 0; r < kRowsPerLane; ++r) {
      const ScoreRow row = row_of(b, r);
      const i32 first_column = accumulator_coordinate(lane, 0).column;
#pragma unroll
      for (i32 n = 0; n < kScoreBlocks; ++n) {
#pragma unroll
        for (i32 i = 0; i < kRowsPerLane; ++i) {
          float& score = s[b][n][kRowsPerLane * r + i];
          const i32 key = first_key + first_column + n * kMmaN + i;
          if constexpr (kKind.scales_scores()) score *= scale;
          if constexpr (kKind.softcap) score = p.softcap_log2 * tanh_exact(score * p.inverse_cap);
          if constexpr (kKind.alibi) score -= row.slope * fabsf(static_cast<float>(row.position - key));
          if constexpr (kKind.bias) {
            if (key < len_k) score += Element::to_float(static_cast<const Element::Storage*>(row.bias)[key]) * log2_e();
          }
          if constexpr (kKind.mask) {
            if (key < len_k && static_cast<const unsigned char*>(row.bias)[key] == 0) score = minus_inf();
          }
        }
      }
    }
  }
}

}  // namespace kiln::device
