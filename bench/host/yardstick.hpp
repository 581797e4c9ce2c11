#pragma once

/// A kernel that has nothing to do with Kiln and never changes: how long NVRTC takes for it says how
/// fast a machine compiles, so that figures of two machines can be compared.
namespace kiln::bench {

inline constexpr const char* kYardstick = R"cuda(
template <int kRows, int kColumns>
struct Tile {
  float x[kRows][kColumns];
};

template <int kRows, int kColumns, int kDepth>
__device__ void multiply(Tile<kRows, kColumns>& c, const float* a, const float* b) {
#pragma unroll
  for (int k = 0; k < kDepth; ++k)
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kColumns; ++j) c.x[i][j] = fmaf(a[k * kRows + i], b[k * kColumns + j], c.x[i][j]);
}

extern "C" __global__ void __launch_bounds__(256) yardstick(const float* a, const float* b, float* c, int steps) {
  __shared__ float shared_a[16 * 128];
  __shared__ float shared_b[16 * 128];
  Tile<8, 8> sum = {};
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      shared_a[i * 256 + threadIdx.x] = a[(step * 8 + i) * 256 + threadIdx.x];
      shared_b[i * 256 + threadIdx.x] = b[(step * 8 + i) * 256 + threadIdx.x];
    }
    __syncthreads();
    multiply<8, 8, 16>(sum, shared_a + threadIdx.x / 16 * 8, shared_b + threadIdx.x % 16 * 8);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < 8; ++j) c[(i * 8 + j) * 256 + threadIdx.x] = exp2f(sum.x[i][j]);
}
)cuda";

}  // namespace kiln::bench
