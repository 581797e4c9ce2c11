#pragma once

#include <kiln/runtime.hpp>

#include <array>
#include <utility>
#include <vector>

namespace kiln::test {

inline constexpr std::array kDTypes = {DType::bf16, DType::f16};

/// (q·k, v)
inline constexpr std::array<std::pair<int, int>, 4> kHeadDims = {{{128, 128}, {64, 64}, {64, 128}, {128, 64}}};

/// Query and KV heads: every ratio of the conventions, mostly over two KV heads.
inline constexpr std::array<std::pair<int, int>, 9> kHeads = {
    {{2, 2}, {4, 2}, {6, 2}, {8, 2}, {10, 2}, {14, 2}, {8, 1}, {16, 1}, {6, 1}}};

struct Mask {
  bool causal = false;
  Alignment alignment = Alignment::bottom_right;
  Window window = Window::none;
};

/// Every mask that differs from the others: alignment means nothing without causal or a window.
inline constexpr std::array<Mask, 7> kMasks = {{
    {},
    {.causal = true},
    {.causal = true, .alignment = Alignment::top_left},
    {.window = Window::sliding},
    {.alignment = Alignment::top_left, .window = Window::sliding},
    {.causal = true, .window = Window::sliding},
    {.causal = true, .alignment = Alignment::top_left, .window = Window::sliding},
}};

inline AttentionConfig make_config(DType dtype, std::pair<int, int> dims, const Mask& mask) {
  return {.dtype = dtype,
          .head_dim_qk = dims.first,
          .head_dim_v = dims.second,
          .causal = mask.causal,
          .alignment = mask.alignment,
          .window = mask.window};
}

}  // namespace kiln::test
