// The only file with asm: one function per instruction, named as in the PTX manual, no logic but for what
// stands in where compute capability 7.5 has no such instruction. The host has none of them; a test that
// runs kernels there brings functions of the same names.
#pragma once

#include "default_config.cuh"
#include "device/base.cuh"

#ifdef __CUDACC__

namespace kiln::device::ptx {

/// The 32-bit address of shared memory that the instructions below take.
KILN_DEVICE u32 cvta_to_shared(const void* pointer) {
  u32 address;
  asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }" : "=r"(address) : "l"(pointer));
  return address;
}

inline constexpr bool kAmpere = config::kCapability >= 80;

KILN_DEVICE u32 ld_shared_b32(u32 address) {
  u32 x;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(x) : "r"(address) : "memory");
  return x;
}

KILN_DEVICE void st_shared_v4(u32 address, const u32 (&x)[4]) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3])
               : "memory");
}

KILN_DEVICE void ld_global_nc_v4(u32 (&x)[4], const void* address) {
  asm("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "l"(address));
}

KILN_DEVICE void st_global_v4(void* address, const u32 (&x)[4]) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3])
               : "memory");
}

/// Copies src_bytes (0 or 16) and fills the rest of the 16 bytes with zeros. With 0, `src` is not read.
KILN_DEVICE void cp_async_cg_16(u32 dst_shared, const void* src, u32 src_bytes) {
  if constexpr (kAmpere) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(dst_shared), "l"(src), "r"(src_bytes)
                 : "memory");
  } else {
    u32 x[4] = {};
    if (src_bytes != 0) ld_global_nc_v4(x, src);
    st_shared_v4(dst_shared, x);
  }
}

KILN_DEVICE void cp_async_cg_16(u32 dst_shared, const void* src) {
  if constexpr (kAmpere) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(dst_shared), "l"(src) : "memory");
  } else {
    u32 x[4];
    ld_global_nc_v4(x, src);
    st_shared_v4(dst_shared, x);
  }
}

KILN_DEVICE void cp_async_commit_group() {
  if constexpr (kAmpere) asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most kPending of this thread's groups are still under way.
template <i32 kPending>
KILN_DEVICE void cp_async_wait_group() {
  if constexpr (kAmpere) asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

KILN_DEVICE void ldmatrix_x4(u32 (&d)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(address)
               : "memory");
}

KILN_DEVICE void ldmatrix_x4_trans(u32 (&d)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(address)
               : "memory");
}

/// d += a · b
KILN_DEVICE void mma_m16n8k8_f16(float (&d)[4], u32 a0, u32 a1, u32 b) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(b));
}

/// d += a · b
KILN_DEVICE void mma_m16n8k16_f16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  if constexpr (kAmpere) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    mma_m16n8k8_f16(d, a[0], a[1], b0);
    mma_m16n8k8_f16(d, a[2], a[3], b1);
  }
}

/// d += a · b
KILN_DEVICE void mma_m16n8k16_bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// d += a · b. Of an operand's elements, the upper 19 bits count.
KILN_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// `low` goes into the lower half.
KILN_DEVICE u32 cvt_rn_f16x2_f32(float high, float low) {
  u32 pair;
  if constexpr (kAmpere) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  } else {
    asm("{ .reg .f16 h, l; cvt.rn.f16.f32 h, %1; cvt.rn.f16.f32 l, %2; mov.b32 %0, {l, h}; }"
        : "=r"(pair)
        : "f"(high), "f"(low));
  }
  return pair;
}

KILN_DEVICE u32 cvt_rn_bf16x2_f32(float high, float low) {
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

/// 2^x; exactly 1 for 0 and 0 for −inf.
KILN_DEVICE float cvt_f32_f16(u16 bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}

KILN_DEVICE float ex2_approx_ftz_f32(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

KILN_DEVICE float lg2_approx_ftz_f32(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

KILN_DEVICE float rcp_approx_ftz_f32(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// x, but what is derived from the result is not kept in registers beyond the place of the call.
KILN_DEVICE u32 mov_b32(u32 x) {
  u32 y;
  asm volatile("mov.b32 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

/// threadIdx.x, read again each time: a value that is derived from it is not kept in registers.
KILN_DEVICE u32 mov_tid_x() {
  u32 x;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(x));
  return x;
}

inline constexpr bool kHopper = config::kCapability >= 90;

/// The next kernel of the stream may take the places of blocks that end.
KILN_DEVICE void griddepcontrol_launch_dependents() {
  if constexpr (kHopper) asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

/// Waits until all that came before in the stream is done and seen.
KILN_DEVICE void griddepcontrol_wait() {
  if constexpr (kHopper) asm volatile("griddepcontrol.wait;" ::: "memory");
}

KILN_DEVICE i32 atom_add_acq_rel_gpu(i32* address, i32 value) {
  i32 old;
  asm volatile("atom.add.acq_rel.gpu.global.s32 %0, [%1], %2;" : "=r"(old) : "l"(address), "r"(value) : "memory");
  return old;
}

}  // namespace kiln::device::ptx

#endif
