// Merges partial results of attention: out and LSE of the same rows over different keys.
//
// Contract. A row's result is Σ wᵢ oᵢ / Σ wᵢ with wᵢ = e^(LSEᵢ − top), its LSE top + ln Σ wᵢ, and top the greatest
// LSEᵢ. What weighs nothing counts for nothing, even a NaN: a state whose LSE is −inf, above all. Without any weight
// the result is 0 and −inf. Where some LSE is +inf, those states share all the weight. States are added in their order,
// kTileN at a time, so results repeat bitwise; one state alone comes out as it went in. The result may lie where a
// state does.
//
// Roles. A thread merges kColumns neighbouring columns of a row, 16 or 32 bytes of each state, which it reads once; a
// row belongs to one block. No shared memory. The one barrier is for results in place: the thread that writes a row's
// LSE waits for the others of the row, who read it too.
#include "default_config.cuh"
#include "device/base.cuh"
#include "device/merge_params.cuh"
#include "device/ptx.cuh"
#include "device/storage.cuh"
#include "device/stream_order.cuh"

namespace kiln::device {

inline constexpr u32 kThreads = config::kWarps * kWarpSize;
inline constexpr i32 kColumns = kMergeColumns;
inline constexpr u32 kRowThreads = config::kHeadDimV / kColumns;
inline constexpr u32 kRows = merge_rows(config::kHeadDimV, config::kWarps);  // of a block

static_assert(config::kHeadDimV % kColumns == 0);
static_assert(kRows > 0 && kRows * kRowThreads <= kThreads, "a row belongs to one block");

struct alignas(kChunkBytes) Chunk {
  u32 words[4];
};

/// Neighbouring columns of a row, as they lie in memory.
template <DType kType>
struct Columns {
  static constexpr bool kFloats = kType == DType::f32;
  static constexpr i32 kChunks = kColumns * element_bytes(kType) / kChunkBytes;
  Chunk chunks[kChunks];

  KILN_DEVICE void load(const void* row, i64 offset) {
    const auto* const from = static_cast<const typename StorageOf<kType>::Storage*>(row) + offset;
#pragma unroll
    for (i32 i = 0; i < kChunks; ++i) chunks[i] = reinterpret_cast<const Chunk*>(from)[i];
  }
  KILN_DEVICE void store(void* row, i64 offset) const {
    auto* const to = static_cast<typename StorageOf<kType>::Storage*>(row) + offset;
#pragma unroll
    for (i32 i = 0; i < kChunks; ++i) ptx::st_global_v4(reinterpret_cast<Chunk*>(to) + i, chunks[i].words);
  }

  KILN_DEVICE float get(i32 i) const {
    if constexpr (kFloats) {
      return __uint_as_float(chunks[i / 4].words[i % 4]);
    } else {
      return StorageOf<kType>::to_float(static_cast<u16>(chunks[0].words[i / 2] >> i % 2 * 16));
    }
  }
  /// Columns 2i and 2i + 1.
  KILN_DEVICE void set_pair(i32 i, float first, float second) {
    if constexpr (kFloats) {
      chunks[i / 2].words[2 * i % 4] = __builtin_bit_cast(u32, first);
      chunks[i / 2].words[2 * i % 4 + 1] = __builtin_bit_cast(u32, second);
    } else {
      chunks[0].words[i] = StorageOf<kType>::pack(first, second);
    }
  }
};

/// What a thread merges.
struct Place {
  u32 row;
  i32 column;
  bool exists;
  i64 batch;
  i64 token;
  i64 head;

  KILN_DEVICE Place(const MergeParams& p, u32 block, u32 thread)
      : row(block * kRows + thread / kRowThreads),
        column(static_cast<i32>(thread % kRowThreads) * kColumns),
        exists(thread / kRowThreads < kRows && row < p.rows) {
    const u32 of_all = row / static_cast<u32>(p.heads);
    head = row % static_cast<u32>(p.heads);
    token = of_all % static_cast<u32>(p.len);
    batch = of_all / static_cast<u32>(p.len);
  }

  KILN_DEVICE i64 offset(const Strides& strides) const {
    return batch * strides.batch + token * strides.row + head * strides.head;
  }
};

struct Sum {
  float x[kColumns];
  float weight;
  float top;  // the greatest LSE so far

  KILN_DEVICE void scale(float factor) {
    weight *= factor;
#pragma unroll
    for (float& value : x) value *= factor;
  }
};

/// Exactly 1 for the top itself, infinite or not; 0 for −inf; NaN for NaN.
KILN_DEVICE float weight_of(float lse, float top, float lse_to_log2) {
  if (lse == minus_inf()) return 0.0f;
  return lse == top ? 1.0f : ptx::ex2_approx_ftz_f32((lse - top) * lse_to_log2);
}

KILN_DEVICE Sum merge_states(const MergeParams& p, const Place& place) {
  constexpr i32 kAtOnce = config::kTileN;  // states whose loads are under way together
  Sum sum{.x = {}, .weight = 0.0f, .top = minus_inf()};
#pragma unroll 1
  for (i32 first = 0; first < p.count; first += kAtOnce) {
    Columns<config::dtype()> o[kAtOnce];
    float lse[kAtOnce];
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) {
      lse[i] = minus_inf();
      if (first + i < p.count) {
        const PartialState& state = p.states[first + i];
        lse[i] = state.lse[place.offset(state.lse_strides)];
        o[i].load(state.o, place.offset(state.o_strides) + place.column);
      }
    }
    float top = sum.top;
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) top = fmaxf(top, lse[i]);
    sum.scale(weight_of(sum.top, top, p.lse_to_log2));
    sum.top = top;
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) {
      const float weight = weight_of(lse[i], top, p.lse_to_log2);
      if (weight == 0.0f) continue;
      sum.weight += weight;
#pragma unroll
      for (i32 c = 0; c < kColumns; ++c) sum.x[c] += weight * o[i].get(c);
    }
  }
  return sum;
}

KILN_DEVICE void write_result(const MergeParams& p, const Place& place, const Sum& sum) {
  const bool empty = sum.weight == 0.0f;
  const float inverse = empty ? 0.0f : 1.0f / sum.weight;
  Columns<config::out_dtype()> o;
#pragma unroll
  for (i32 i = 0; i < kColumns / 2; ++i) o.set_pair(i, sum.x[2 * i] * inverse, sum.x[2 * i + 1] * inverse);
  o.store(p.o, place.offset(p.o_strides) + place.column);
  if (p.lse != nullptr && place.column == 0) {
    const float lse = empty ? minus_inf() : sum.top + ptx::lg2_approx_ftz_f32(sum.weight) * p.lse_unit;
    p.lse[place.offset(p.lse_strides)] = lse;
  }
}

}  // namespace kiln::device

extern "C" __global__ void __launch_bounds__(kiln::device::kThreads, kiln::config::kCtasPerSm)
    kiln_merge(const __grid_constant__ kiln::device::MergeParams p) {
  using namespace kiln::device;
  follow_in_stream();
  const Place place(p, blockIdx.x, threadIdx.x);
  Sum sum{};
  if (place.exists) sum = merge_states(p, place);
  __syncthreads();
  if (place.exists) write_result(p, place, sum);
}
