#ifndef KILN_BENCH_H
#define KILN_BENCH_H

/* Kiln's calls in plain C, for bench/kiln_bench.py. Not part of the library. Every call but the first
 * two returns 0 if it went well; kiln_bench_error() then says nothing, else what was wrong. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct KilnBenchTensor {
  void* data;
  int64_t batch_stride;
  int64_t row_stride;
  int64_t head_stride;
} KilnBenchTensor;

/* Members that only one of the two calls uses are ignored by the other. */
typedef struct KilnBenchCall {
  KilnBenchTensor q, k, v, out;
  float* lse;
  const int32_t* lengths; /* decode */
  void* workspace;        /* decode */
  uint64_t workspace_bytes;
  int32_t bf16;
  int32_t head_dim_qk;
  int32_t head_dim_v;
  int32_t causal;
  int32_t batch;
  int32_t len_q; /* forward */
  int32_t len_k;
  int32_t heads_q;
  int32_t heads_kv;
  int32_t num_splits; /* decode */
} KilnBenchCall;

typedef struct KilnBench KilnBench;

/* Null if it fails. One Runtime, with the options of the environment, for the current context. */
KilnBench* kiln_bench_open(void);
void kiln_bench_close(KilnBench* bench);
/* The last error of this thread. */
const char* kiln_bench_error(void);
const char* kiln_bench_version(void);

int kiln_bench_forward(KilnBench* bench, const KilnBenchCall* call, void* stream);
int kiln_bench_decode(KilnBench* bench, const KilnBenchCall* call, void* stream);
int kiln_bench_decode_workspace(KilnBench* bench, const KilnBenchCall* call, uint64_t* bytes);

#ifdef __cplusplus
}
#endif

#endif
