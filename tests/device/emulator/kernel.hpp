// A kernel template compiled for the host with one config. A file of such a kernel writes
//
//   #define EMULATED forward_f16_d64       (a name of its own)
//   #include "device/emulator/kernel_begin.hpp"
//   namespace kiln::config { … }           (what differs from default_config.cuh)
//   #include "device/emulator/kernel_forward.hpp"
#pragma once

#include "device/emulator/number.hpp"

#include <cstdint>

namespace emulator {

/// Blocks of a launch.
struct Grid {
  unsigned x;
  unsigned y = 1;
};

struct KernelFacts {
  Number type;  // of q, k and v
  Number output;
  bool allow_tf32;
  bool causal;
  bool align_top_left;
  bool sliding_window;
  int head_dim_qk;
  int head_dim_v;
  int tile_m;
  int tile_n;
  void (*run)(const void* params, Grid grid);
};

}  // namespace emulator
