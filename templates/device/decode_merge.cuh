// Decode: the results of a block's warps, and of the blocks that share a row tile, become one.
#pragma once

#include "device/base.cuh"
#include "device/decode_block.cuh"
#include "device/decode_plan.cuh"
#include "device/element.cuh"
#include "device/online_softmax.cuh"
#include "device/params.cuh"
#include "device/ptx.cuh"
#include "device/swizzle.cuh"

namespace kiln::device {

inline constexpr i32 kVector = 4;  // fp32 columns that a thread merges at a time
struct alignas(kVector * sizeof(float)) Vector {
  float x[kVector];
};
static_assert(sizeof(Vector) == kChunkBytes);
struct alignas(kVector* Element::kBytes) PackedVector {
  u32 pairs[kVector / 2];
};

/// A piece of one row of O, and the sum of the row's weights, both times 2^−top.
struct Piece {
  Vector o;
  float weight;
  float top;
};

KILN_DEVICE void add_scaled(Vector& sum, const Vector& x, float weight) {
#pragma unroll
  for (i32 i = 0; i < kVector; ++i) sum.x[i] += weight * x.x[i];
}

/// Columns column … column + 3 of a row, over all warps along the keys, whose O is in `output`.
KILN_DEVICE Piece merge_warps(const Smem& smem, const unsigned char* output, i32 row, i32 column, float scale) {
  float top = before_keys();
#pragma unroll
  for (i32 w = 0; w < warp_grid().keys; ++w) top = max(top, smem.m[w][row]);
  Piece piece{};
#pragma unroll
  for (i32 w = 0; w < warp_grid().keys; ++w) {
    const float factor = ptx::ex2_approx_ftz_f32((smem.m[w][row] - top) * scale);
    piece.weight += factor * smem.l[w][row];
    const i32 at = w * config::kTileM * OutputTile::kRowBytes + OutputTile::offset(row, column / kVector);
    add_scaled(piece.o, *reinterpret_cast<const Vector*>(output + at), factor);
  }
  piece.top = fmaxf(top * scale, before_keys());
  return piece;
}

/// Rows of the partial results from place to place.
KILN_DEVICE i32 place_rows(const DecodeParams& p) { return p.heads_kv * config::kTileM; }

/// Row of the partial results where row `row` of the tile lies, of a part of a row tile.
KILN_DEVICE i32 partial_row(const DecodeParams& p, const Rows& rows, i32 place, i32 row) {
  return place * place_rows(p) + rows.kv_head * config::kTileM + row;
}

/// Top and weight of a row of a part.
struct alignas(2 * sizeof(float)) PartState {
  float top;
  float weight;
};

/// Columns column … column + 3 of a row, over all its parts in their order.
KILN_DEVICE Piece merge_parts(const DecodeParams& p, const Rows& rows, const DecodeParts& parts, i32 row, i32 column) {
  constexpr i32 kAtOnce = 8;  // loads under way together
  const auto* const states = reinterpret_cast<const PartState*>(p.partial_state);
  const float* const columns = p.partial_o + column;
  const i32 step = parts.place_step * place_rows(p);
  const i32 last = partial_row(p, rows, parts.place(parts.count - 1), row);
  i32 next = partial_row(p, rows, parts.first_place, row);
  i32 beyond = step - place_rows(p);  // where part 0 lies, as DecodeParts::place says
  Piece sum{.o = {}, .weight = 0, .top = before_keys()};
#pragma unroll 1
  for (i32 first = 0; first < parts.count; first += kAtOnce) {
    Vector o[kAtOnce];
    PartState state[kAtOnce];
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) {
      const i32 at = min(next + beyond, last);
      next += step;
      beyond = 0;
      state[i] = states[at];
      o[i] = *reinterpret_cast<const Vector*>(columns + i64{at} * config::kHeadDimV);
    }
    float top = sum.top;
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) top = max(top, state[i].top);
    const float correction = ptx::ex2_approx_ftz_f32(sum.top - top);
    sum.top = top;
    sum.weight *= correction;
#pragma unroll
    for (float& x : sum.o.x) x *= correction;
#pragma unroll
    for (i32 i = 0; i < kAtOnce; ++i) {
      const float factor = first + i < parts.count ? ptx::ex2_approx_ftz_f32(state[i].top - top) : 0.0f;
      sum.weight += factor * state[i].weight;
      add_scaled(sum.o, o[i], factor);
    }
  }
  return sum;
}

/// Calls f(row, column) for every piece of the tile's rows, shared out over the threads.
template <class F>
KILN_DEVICE void for_pieces(i32 rows, u32 thread, F f) {
  constexpr u32 kPerRow = config::kHeadDimV / kVector;
  for (u32 piece = thread; piece < static_cast<u32>(rows) * kPerRow; piece += kThreads) {
    f(static_cast<i32>(piece / kPerRow), static_cast<i32>(piece % kPerRow) * kVector);
  }
}

/// A sink is a key with a value of 0.
KILN_DEVICE void add_sink(Piece& piece, float sink_log2) {
  const float top = fmaxf(piece.top, sink_log2);
  const float correction = ptx::ex2_approx_ftz_f32(piece.top - top);
  piece.weight = piece.weight * correction + ptx::ex2_approx_ftz_f32(sink_log2 - top);
  piece.top = top;
#pragma unroll
  for (float& x : piece.o.x) x *= correction;
}

KILN_DEVICE void write_result(const AttentionParams& p, const Rows& rows, i32 row, i32 column, Piece piece) {
  if (p.sinks != nullptr) add_sink(piece, p.sinks[rows.head(p, row)] * log2_e());
  const bool empty = piece.weight == 0.0f;
  const float inverse = empty ? 0.0f : ptx::rcp_approx_ftz_f32(piece.weight);
  float(&x)[kVector] = piece.o.x;
#pragma unroll
  for (float& element : x) element *= inverse;
  const i64 o = rows.offset(p, p.o_strides, row) + column;
  if constexpr (kFloatOutput) {
    *reinterpret_cast<Vector*>(static_cast<float*>(p.o) + o) = piece.o;
  } else {
    *reinterpret_cast<PackedVector*>(static_cast<Element::Storage*>(p.o) + o) = {Element::pack(x[0], x[1]),
                                                                                 Element::pack(x[2], x[3])};
  }
  if (p.lse != nullptr && column == 0) {
    const float lse = empty ? minus_inf() : piece.top + ptx::lg2_approx_ftz_f32(piece.weight);
    p.lse[rows.lse_offset(p, row)] = lse * p.lse_unit;
  }
}

/// True in all threads of the last block of a row tile to come here; it then sees what the others wrote before.
KILN_DEVICE bool arrive_last(const DecodeParams& p, const Rows& rows, const DecodeParts& parts, u32 thread) {
  i32* counter = p.counters + i64{parts.counter} * p.heads_kv + rows.kv_head;
  __syncthreads();  // all threads' partial results come before thread 0's release
  bool last = false;
  if (thread == 0) {
    last = ptx::atom_add_acq_rel_gpu(counter, 1) == parts.count - 1;
    if (last) *counter = 0;
  }
  return __syncthreads_or(last) != 0;
}

/// Writes what the warps have found, or leaves it for the last block of the row tile, which merges all.
KILN_DEVICE void finish_share(const DecodeParams& p, const Work& work, const Smem& smem, const unsigned char* output,
                              float scale, u32 thread) {
  const Rows& rows = work.rows;
  const DecodeParts parts = work.parts;
  for_pieces(rows.count, thread, [&](i32 row, i32 column) {
    const Piece piece = merge_warps(smem, output, row, column, scale);
    if (parts.count == 1) {
      write_result(p, rows, row, column, piece);
      return;
    }
    const i32 at = partial_row(p, rows, parts.place(parts.part), row);
    *reinterpret_cast<Vector*>(p.partial_o + i64{at} * config::kHeadDimV + column) = piece.o;
    if (column == 0) reinterpret_cast<PartState*>(p.partial_state)[at] = {piece.top, piece.weight};
  });
  if (parts.count == 1 || !arrive_last(p, rows, parts, thread)) return;
  for_pieces(rows.count, thread, [&](i32 row, i32 column) {
    write_result(p, rows, row, column, merge_parts(p, rows, parts, row, column));
  });
}

}  // namespace kiln::device
