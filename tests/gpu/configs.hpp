#pragma once

#include <kiln/runtime.hpp>

#include <array>
#include <utility>
#include <vector>

namespace kiln::test {

/// What elements are, go through and come out as.
struct Types {
  DType dtype = DType::bf16;
  bool output_f32 = false;
  bool allow_tf32 = false;
};
inline constexpr std::array<Types, 6> kTypes = {{
    {.dtype = DType::bf16},
    {.dtype = DType::f16},
    {.dtype = DType::bf16, .output_f32 = true},
    {.dtype = DType::f16, .output_f32 = true},
    {.dtype = DType::f32},
    {.dtype = DType::f32, .allow_tf32 = true},
}};

/// (q·k, v) of forward kernels: those that models have, the least, and odd pairs.
inline constexpr std::array<std::pair<int, int>, 16> kForwardHeadDims = {{{128, 128},
                                                                          {64, 64},
                                                                          {32, 32},
                                                                          {40, 40},
                                                                          {72, 72},
                                                                          {80, 80},
                                                                          {96, 96},
                                                                          {112, 112},
                                                                          {160, 160},
                                                                          {192, 192},
                                                                          {224, 224},
                                                                          {256, 256},
                                                                          {192, 128},
                                                                          {64, 128},
                                                                          {8, 8},
                                                                          {136, 24}}};

/// Query and KV heads: every ratio of the conventions, mostly over two KV heads.
inline constexpr std::array<std::pair<int, int>, 9> kHeads = {
    {{2, 2}, {4, 2}, {6, 2}, {8, 2}, {10, 2}, {14, 2}, {8, 1}, {16, 1}, {6, 1}}};

struct Mask {
  bool causal = false;
  Alignment alignment = Alignment::bottom_right;
  Window window = Window::none;
  int left = -1;  ///< Window::fixed only
  int right = -1;
};

/// Every mask that differs from the others and whose sides come with the call: alignment means nothing
/// without causal or a window.
inline constexpr std::array<Mask, 7> kMasks = {{
    {},
    {.causal = true},
    {.causal = true, .alignment = Alignment::top_left},
    {.window = Window::sliding},
    {.alignment = Alignment::top_left, .window = Window::sliding},
    {.causal = true, .window = Window::sliding},
    {.causal = true, .alignment = Alignment::top_left, .window = Window::sliding},
}};

/// Those and what else forward kernels know: windows of the config, and ALiBi's alignment without a mask.
inline constexpr std::array<Mask, 11> kForwardMasks = {{
    kMasks[0],
    kMasks[1],
    kMasks[2],
    kMasks[3],
    kMasks[4],
    kMasks[5],
    kMasks[6],
    {.alignment = Alignment::top_left},
    {.causal = true, .window = Window::fixed, .left = 100},
    {.window = Window::fixed, .left = 0, .right = 63},
    {.alignment = Alignment::top_left, .window = Window::fixed, .right = 70},
}};

inline AttentionConfig make_config(DType dtype, std::pair<int, int> dims, const Mask& mask) {
  return {.dtype = dtype,
          .head_dim_qk = dims.first,
          .head_dim_v = dims.second,
          .causal = mask.causal,
          .alignment = mask.alignment,
          .window = mask.window,
          .window_left = mask.left,
          .window_right = mask.right};
}

}  // namespace kiln::test
