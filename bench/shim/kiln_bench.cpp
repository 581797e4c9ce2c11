#include "kiln_bench.h"

#include <kiln/kiln.hpp>

#include <exception>
#include <string>

struct KilnBench {
  kiln::Runtime runtime;
};

namespace {

std::string& last_error() {
  thread_local std::string text;
  return text;
}

template <class Work>
int guarded(const Work& work) noexcept {
  try {
    last_error().clear();
    work();
    return 0;
  } catch (const std::exception& error) {
    last_error() = error.what();
    return 1;
  }
}

kiln::Strides strides(const KilnBenchTensor& tensor) {
  return {.batch = tensor.batch_stride, .row = tensor.row_stride, .head = tensor.head_stride};
}
kiln::Input input(const KilnBenchTensor& tensor) { return {tensor.data, strides(tensor)}; }
kiln::Output output(const KilnBenchTensor& tensor) { return {tensor.data, strides(tensor)}; }

kiln::AttentionConfig config(const KilnBenchCall& call) {
  return {.dtype = call.bf16 != 0 ? kiln::DType::bf16 : kiln::DType::f16,
          .head_dim_qk = call.head_dim_qk,
          .head_dim_v = call.head_dim_v,
          .causal = call.causal != 0};
}

kiln::DecodeArgs decode_args(const KilnBenchCall& call) {
  return {.q = input(call.q),
          .k_cache = input(call.k),
          .v_cache = input(call.v),
          .out = output(call.out),
          .lse = call.lse,
          .lengths = call.lengths,
          .batch = call.batch,
          .max_len_k = call.len_k,
          .heads_q = call.heads_q,
          .heads_kv = call.heads_kv,
          .num_splits = call.num_splits,
          .workspace = call.workspace,
          .workspace_bytes = call.workspace_bytes};
}

}  // namespace

extern "C" {

KILN_API KilnBench* kiln_bench_open(void) {
  KilnBench* bench = nullptr;
  guarded([&] { bench = new KilnBench; });
  return bench;
}

KILN_API void kiln_bench_close(KilnBench* bench) { delete bench; }

KILN_API const char* kiln_bench_error(void) { return last_error().c_str(); }

KILN_API const char* kiln_bench_version(void) { return kiln::version(); }

KILN_API int kiln_bench_forward(KilnBench* bench, const KilnBenchCall* call, void* stream) {
  return guarded([&] {
    bench->runtime.launch(config(*call), static_cast<kiln::Stream>(stream),
                          kiln::ForwardArgs{.q = input(call->q),
                                            .k = input(call->k),
                                            .v = input(call->v),
                                            .out = output(call->out),
                                            .lse = call->lse,
                                            .batch = call->batch,
                                            .len_q = call->len_q,
                                            .len_k = call->len_k,
                                            .heads_q = call->heads_q,
                                            .heads_kv = call->heads_kv});
  });
}

KILN_API int kiln_bench_decode(KilnBench* bench, const KilnBenchCall* call, void* stream) {
  return guarded([&] { bench->runtime.launch(config(*call), static_cast<kiln::Stream>(stream), decode_args(*call)); });
}

KILN_API int kiln_bench_decode_workspace(KilnBench* bench, const KilnBenchCall* call, uint64_t* bytes) {
  return guarded([&] { *bytes = bench->runtime.decode(config(*call)).workspace_bytes(decode_args(*call)); });
}

}  // extern "C"
