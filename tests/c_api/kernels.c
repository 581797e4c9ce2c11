#define _XOPEN_SOURCE 700
#include "c_api/check.h"
#include "c_api/machine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The structs that kernels read, as templates/device/params.cuh has them. */
typedef struct AttentionParams {
  const void *q, *k, *v;
  void* o;
  float* lse;
  kiln_strides q_strides, k_strides, v_strides, o_strides;
  const int32_t *cu_seqlens_q, *cu_seqlens_k, *seqused_q, *seqused_k, *page_table;
  int64_t page_table_stride;
  const float* alibi_slopes;
  int64_t alibi_batch_stride;
  const float* sinks;
  const void* bias;
  kiln_strides bias_strides;
  int32_t batch, heads_q, heads_kv, group, len_q, len_k, total_q, window_left, window_right;
  float scale_log2, softcap_log2, inverse_cap, lse_unit;
  int32_t heads[2];
  uint32_t page_keys, page_inverse;
} AttentionParams;

typedef struct ForwardParams {
  AttentionParams call;
  int32_t schedule[2];
} ForwardParams;

typedef struct DecodeParams {
  AttentionParams call;
  const int32_t *cache_rows, *left_padding, *page_indptr, *last_page_len;
  const uint32_t* tree_words;
  int64_t tree_batch_stride, tree_row_stride;
  int32_t* counters;
  float *partial_o, *partial_state;
  int32_t groups, splits, split_tiles, row_tiles, share_cost, alike, simple_cache, align_top_left;
} DecodeParams;

static void launch_at(int index, const char* kernel, void* params, size_t params_bytes) {
  FakeLaunch launch;
  memset(&launch, 0, sizeof(launch));
  CHECK(fake.launch(index, &launch));
  CHECK(strcmp(launch.kernel, kernel) == 0);
  CHECK(launch.params_bytes == params_bytes);
  memcpy(params, launch.params, params_bytes);
}

static void last_launch(const char* kernel, void* params, size_t params_bytes) {
  launch_at(fake.launch_count() - 1, kernel, params, params_bytes);
}

static int same_strides(kiln_strides a, kiln_strides b) {
  return a.batch == b.batch && a.row == b.row && a.head == b.head;
}

/* The kernels work in base 2. */
static int is_scale(float scale_log2, double scale) { return fabs(scale_log2 * log(2) - scale) < 1e-6; }

static void forward_launches_what_the_arguments_say(kiln_runtime* runtime) {
  kiln_attention_config config = kiln_attention_config_init();
  kiln_forward_args args = machine_forward_args();
  kiln_forward_kernel* kernel = NULL;
  ForwardParams params;
  config.window = KILN_WINDOW_SLIDING;
  args.lse = machine_address(0x50000);
  args.window_left = 7;
  fake.set_params_bytes(sizeof(params));
  CHECK_OK(kiln_forward_get(runtime, &config, &kernel));
  CHECK_OK(kiln_forward_launch(kernel, NULL, &args));
  last_launch("kiln_forward", &params, sizeof(params));
  CHECK(params.call.q == args.q.data && params.call.k == args.k.data && params.call.v == args.v.data &&
        params.call.o == args.out.data);
  CHECK(params.call.lse == args.lse);
  CHECK(same_strides(params.call.q_strides, args.q.strides) && same_strides(params.call.k_strides, args.k.strides));
  CHECK(same_strides(params.call.v_strides, args.v.strides) && same_strides(params.call.o_strides, args.out.strides));
  CHECK(params.call.batch == 3 && params.call.heads_q == 8 && params.call.heads_kv == 2 && params.call.group == 4);
  CHECK(params.call.len_q == 300 && params.call.len_k == 500);
  CHECK(params.call.window_left == 7 && params.call.window_right == -1);
  CHECK(is_scale(params.call.scale_log2, 1 / sqrt(128)));

  args.has_scale = 1;
  args.scale = 0.25F;
  CHECK_OK(kiln_runtime_launch_forward(runtime, &config, NULL, &args));
  last_launch("kiln_forward", &params, sizeof(params));
  CHECK(is_scale(params.call.scale_log2, 0.25));
  args.batch = 0;
  CHECK_OK(kiln_forward_launch(kernel, NULL, &args));
  CHECK(fake.launch_count() == 2);
  kiln_forward_release(kernel);
}

static void every_feature_reaches_the_kernel(kiln_runtime* runtime) {
  kiln_attention_config config = kiln_attention_config_init();
  kiln_forward_args args = machine_forward_args();
  ForwardParams params;
  config.softcap = config.alibi = config.sinks = config.ragged = config.paged = 1;
  config.bias = KILN_BIAS_ADDITIVE;
  config.window = KILN_WINDOW_FIXED;
  config.window_left = 100;
  args.lse_base2 = 1;
  args.softcap = 30.0F;
  args.alibi_slopes = machine_address(0x60000);
  args.alibi_batch_stride = 8;
  args.sinks = machine_address(0x61000);
  args.bias = machine_address(0x62002);
  args.bias_strides.row = 501;
  args.cu_seqlens_q = machine_address(0x63000);
  args.seqused_q = machine_address(0x64000);
  args.seqused_k = machine_address(0x65000);
  args.page_table = machine_address(0x66000);
  args.page_table_stride = 32;
  args.page_size = 16;
  args.total_q = 777;
  fake.set_params_bytes(sizeof(params));
  CHECK_OK(kiln_runtime_launch_forward(runtime, &config, NULL, &args));
  last_launch("kiln_forward", &params, sizeof(params));
  CHECK(params.call.lse_unit == 1.0F && fabs(params.call.softcap_log2 * log(2) - 30) < 1e-5);
  CHECK(fabs(params.call.inverse_cap * params.call.softcap_log2 - 1) < 1e-6);
  CHECK(params.call.alibi_slopes == args.alibi_slopes && params.call.alibi_batch_stride == 8 &&
        params.call.sinks == args.sinks);
  CHECK(params.call.bias == args.bias && same_strides(params.call.bias_strides, args.bias_strides));
  CHECK(params.call.cu_seqlens_q == args.cu_seqlens_q && params.call.cu_seqlens_k == NULL);
  CHECK(params.call.seqused_q == args.seqused_q && params.call.seqused_k == args.seqused_k &&
        params.call.total_q == 777);
  CHECK(params.call.page_table == args.page_table && params.call.page_table_stride == 32 &&
        params.call.page_keys == 16);
  args.page_table_stride = 31;
  CHECK_REFUSED(kiln_runtime_launch_forward(runtime, &config, NULL, &args),
                "pages.row_stride is 31: 500 keys in pages of 16 need 32 entries a sequence");
  config.softcap = 0;
  CHECK_REFUSED(kiln_runtime_launch_forward(runtime, &config, NULL, &args), "pages.row_stride");
  args.page_table_stride = 32;
  CHECK_REFUSED(kiln_runtime_launch_forward(runtime, &config, NULL, &args), "softcap is 30: it must be 0");
}

static void decode_launches_what_the_arguments_say(kiln_runtime* runtime) {
  const kiln_attention_config config = kiln_attention_config_init();
  kiln_decode_args args = machine_decode_args();
  kiln_decode_kernel* kernel = NULL;
  DecodeParams params;
  size_t bytes = 0;
  args.num_splits = 5;
  args.lse = machine_address(0x50000);
  args.lengths = machine_address(0x60000);
  args.workspace = machine_address(0x100000);
  CHECK_OK(kiln_decode_get(runtime, &config, &kernel));
  CHECK_OK(kiln_decode_workspace_bytes(kernel, &args, &bytes));
  CHECK(bytes > 0);
  args.workspace_bytes = bytes - 1;
  CHECK_REFUSED(kiln_decode_launch(kernel, NULL, &args), "workspace_bytes is");
  args.workspace_bytes = bytes;
  fake.set_params_bytes(sizeof(params));
  CHECK_OK(kiln_decode_launch(kernel, NULL, &args));
  last_launch("kiln_decode", &params, sizeof(params));
  CHECK(params.call.q == args.q.data && params.call.k == args.k_cache.data && params.call.v == args.v_cache.data);
  CHECK(params.call.o == args.out.data && params.call.lse == args.lse && params.call.seqused_k == args.lengths);
  CHECK(same_strides(params.call.k_strides, args.k_cache.strides) &&
        same_strides(params.call.v_strides, args.v_cache.strides));
  CHECK(params.call.batch == 2 && params.call.heads_q == 8 && params.call.heads_kv == 2 && params.call.len_k == 4096);
  CHECK(params.splits == 5 && params.call.window_left == -1 && is_scale(params.call.scale_log2, 1 / sqrt(128)));

  args.num_splits = 1;
  args.has_scale = 1;
  args.scale = 0.5F;
  args.workspace = NULL;
  args.workspace_bytes = 0;
  CHECK_OK(kiln_runtime_launch_decode(runtime, &config, NULL, &args));
  last_launch("kiln_decode", &params, sizeof(params));
  CHECK(params.splits == 1 && is_scale(params.call.scale_log2, 0.5));
  fake.set_params_bytes(0); /* what follows launches kernels of either kind */
  kiln_decode_release(kernel);
}

/* As templates/device/merge_params.cuh has them. */
typedef struct PartialState {
  const void* o;
  const float* lse;
  kiln_strides o_strides, lse_strides;
} PartialState;

typedef struct MergeParams {
  PartialState states[16];
  void* o;
  float* lse;
  kiln_strides o_strides, lse_strides;
  int32_t count, len, heads;
  uint32_t rows;
  float lse_to_log2, lse_unit;
} MergeParams;

static void merge_launches_what_the_arguments_say(kiln_runtime* runtime) {
  kiln_merge_config config = kiln_merge_config_init();
  kiln_merge_args args = machine_merge_args();
  kiln_kernel_request request = kiln_kernel_request_init();
  kiln_kernel_info info = kiln_kernel_info_init();
  kiln_merge_kernel* kernel = NULL;
  MergeParams params;
  config.dtype = KILN_F32;
  args.lse.data = machine_address(0x50004);
  args.lse.strides = kiln_strides_bhsd(4, 8, 1);
  request.kind = KILN_KIND_MERGE;
  request.merge_config = &config;
  CHECK_OK(kiln_runtime_prepare(runtime, &request, 1, NULL, NULL));
  CHECK_OK(kiln_merge_get(runtime, &config, &kernel));
  CHECK_OK(kiln_merge_info(kernel, &info));
  CHECK(info.kind == KILN_KIND_MERGE && info.config == NULL && info.smem_bytes == 0);
  CHECK(info.merge_config != NULL && memcmp(info.merge_config, &config, sizeof(config)) == 0);
  fake.set_params_bytes(sizeof(params));
  CHECK_OK(kiln_merge_retain(kernel));
  kiln_merge_release(kernel);
  CHECK_OK(kiln_merge_launch(kernel, NULL, &args));
  last_launch("kiln_merge", &params, sizeof(params));
  CHECK(params.count == 2 && params.len == 4 && params.heads == 8 && params.rows == 3 * 4 * 8);
  CHECK(params.states[1].o == args.states[1].out.data && params.states[1].lse == args.states[1].lse.data);
  CHECK(same_strides(params.states[1].o_strides, args.states[1].out.strides));
  CHECK(same_strides(params.states[0].lse_strides, args.states[0].lse.strides));
  CHECK(params.o == args.out.data && params.lse == args.lse.data && same_strides(params.lse_strides, args.lse.strides));
  CHECK(fabs(params.lse_unit - log(2)) < 1e-6 && fabs(params.lse_to_log2 * log(2) - 1) < 1e-6);

  args.lse_base2 = 1;
  args.num_states = 16;
  CHECK_REFUSED(kiln_merge_launch(kernel, NULL, &args), "states[2].out is null");
  args.num_states = 17;
  CHECK_REFUSED(kiln_merge_launch(kernel, NULL, &args), "num_states is 17: it must be from 1 to 16");
  args.num_states = INT32_MIN;
  CHECK_REFUSED(kiln_merge_launch(kernel, NULL, &args), "num_states is -2147483648");
  args.num_states = 1;
  CHECK_OK(kiln_runtime_launch_merge(runtime, &config, NULL, &args));
  last_launch("kiln_merge", &params, sizeof(params));
  CHECK(params.count == 1 && params.states[1].o == NULL && params.lse_unit == 1.0F);
  args.lse_base2 = 2;
  CHECK_REFUSED(kiln_merge_launch(kernel, NULL, &args), "lse_base2 is 2");
  args.lse_base2 = 0;
  config.out_dtype = 3;
  CHECK_REFUSED(kiln_runtime_launch_merge(runtime, &config, NULL, &args), "out_dtype is 3: it must be 0 (KILN_F16)");
  fake.set_params_bytes(0);
  kiln_merge_release(kernel);
}

static void a_shared_prefix_is_three_launches(kiln_runtime* runtime) {
  kiln_attention_config config = kiln_attention_config_init();
  kiln_decode_args args = machine_decode_args();
  kiln_shared_prefix prefix = machine_shared_prefix();
  kiln_shared_prefix without_keys = machine_shared_prefix();
  kiln_shared_prefix_decode* decode = NULL;
  DecodeParams shared, own, merge;
  PartialState states[2];
  size_t bytes = 0;
  const int before = fake.launch_count();
  config.paged = 1;
  args.page_table = machine_address(0x70000);
  args.page_table_stride = 256;
  args.page_size = 16;
  args.lengths = machine_address(0x71000);
  args.workspace = machine_address(0x100000);
  prefix.length = machine_address(0x72004);
  prefix.page_table = machine_address(0x73000);
  CHECK_OK(kiln_shared_prefix_get(runtime, &config, &decode));
  CHECK_OK(kiln_shared_prefix_retain(decode));
  kiln_shared_prefix_release(decode);
  CHECK_OK(kiln_shared_prefix_workspace_bytes(decode, &args, &prefix, &bytes));
  CHECK(bytes > 0);
  args.workspace_bytes = bytes - 1;
  CHECK_REFUSED(kiln_shared_prefix_launch(decode, NULL, &args, &prefix), "workspace_bytes is");
  args.workspace_bytes = bytes;
  without_keys.k.data = NULL;
  CHECK_REFUSED(kiln_shared_prefix_launch(decode, NULL, &args, &without_keys), "of the shared prefix: ");
  CHECK(fake.launch_count() == before);
  fake.set_params_bytes(sizeof(DecodeParams)); /* a merge has more; its first states lie in these */
  CHECK_OK(kiln_shared_prefix_launch(decode, NULL, &args, &prefix));
  CHECK(fake.launch_count() == before + 3);
  launch_at(before, "kiln_decode", &shared, sizeof(shared));
  launch_at(before + 1, "kiln_decode", &own, sizeof(own));
  launch_at(before + 2, "kiln_merge", &merge, sizeof(merge));
  memcpy(states, &merge, sizeof(states));
  CHECK(shared.call.q == args.q.data && shared.call.k == prefix.k.data && shared.call.v == prefix.v.data);
  CHECK(same_strides(shared.call.k_strides, prefix.k.strides) && same_strides(shared.call.v_strides, prefix.v.strides));
  CHECK(shared.call.batch == 1 && shared.call.len_q == 2 && shared.call.len_k == 5000);
  CHECK(shared.call.seqused_k == prefix.length && shared.call.page_table == prefix.page_table);
  CHECK(own.call.q == args.q.data && own.call.k == args.k_cache.data && own.call.v == args.v_cache.data);
  CHECK(own.call.batch == 2 && own.call.len_q == 1 && own.call.len_k == 4096);
  CHECK(own.call.seqused_k == args.lengths && own.call.page_table == args.page_table);
  CHECK(states[0].o == shared.call.o && states[0].lse == shared.call.lse);
  CHECK(states[1].o == own.call.o && states[1].lse == own.call.lse);
  fake.set_params_bytes(0);
  kiln_shared_prefix_release(decode);
}

static void tells_what_a_kernel_is(kiln_runtime* runtime) {
  kiln_attention_config config = kiln_attention_config_init();
  kiln_kernel_info info = kiln_kernel_info_init();
  kiln_decode_kernel* kernel = NULL;
  char text[KILN_CONFIG_TEXT_BYTES];
  config.dtype = KILN_F16;
  config.head_dim_v = 64;
  config.alignment = KILN_TOP_LEFT;
  CHECK_OK(kiln_decode_get(runtime, &config, &kernel));
  CHECK_OK(kiln_decode_info(kernel, &info));
  CHECK(info.kind == KILN_KIND_DECODE && info.origin == KILN_ORIGIN_COMPILED);
  CHECK(strcmp(info.target, "sm_90") == 0 && strlen(info.kernel_id) == 64);
  CHECK(info.registers == 96 && info.spill_bytes == 0 && info.smem_bytes > 0 && info.compile_ms > 0);
  CHECK(memcmp(info.config, &config, sizeof(config)) == 0 && info.merge_config == NULL);
  CHECK_OK(kiln_attention_config_text(info.config, text, sizeof(text)));
  CHECK(strcmp(text, "f16 d128/64 top-left") == 0);
  CHECK_REFUSED(kiln_attention_config_text(&config, text, 20), "text_bytes is 20: it must be at least 21");
  kiln_decode_release(kernel);
}

static void a_kernel_lives_as_long_as_its_owners(void) {
  const kiln_attention_config config = kiln_attention_config_init();
  const kiln_forward_args args = machine_forward_args();
  kiln_shared_prefix_decode* decode = NULL;
  kiln_runtime* const runtime = machine_runtime();
  const int launches = fake.launch_count();
  const int libraries = fake.live_libraries();
  kiln_forward_kernel* kernel = NULL;
  CHECK_OK(kiln_forward_get(runtime, &config, &kernel));
  CHECK_OK(kiln_forward_retain(kernel));
  CHECK_OK(kiln_shared_prefix_get(runtime, &config, &decode));
  kiln_runtime_destroy(runtime);
  CHECK(fake.live_libraries() == libraries + 4);
  kiln_shared_prefix_release(decode);
  kiln_forward_release(kernel);
  CHECK_OK(kiln_forward_launch(kernel, NULL, &args));
  CHECK(fake.launch_count() == launches + 1 && fake.live_libraries() == libraries + 1);
  kiln_forward_release(kernel);
  CHECK(fake.live_libraries() == libraries);
}

typedef struct Reports {
  int count;
  kiln_progress last;
} Reports;

static void keep_report(const kiln_progress* progress, void* user) {
  Reports* const reports = user;
  ++reports->count;
  reports->last = *progress;
}

static void prepares_and_counts(void) {
  kiln_options* const options = machine_options();
  kiln_attention_config configs[2];
  kiln_kernel_request requests[4];
  kiln_runtime* runtime = NULL;
  kiln_stats stats = kiln_stats_init();
  Reports reports;
  int i = 0;
  memset(&reports, 0, sizeof(reports));
  configs[0] = configs[1] = kiln_attention_config_init();
  configs[1].causal = 1;
  for (i = 0; i < 4; ++i) {
    requests[i] = kiln_kernel_request_init();
    requests[i].config = &configs[i % 2];
  }
  requests[2].kind = KILN_KIND_DECODE; /* so three kernels in all: the fourth is the second once more */
  CHECK_OK(kiln_options_set(options, "cache_dir", machine_path("cache")));
  CHECK_OK(kiln_runtime_create(options, &runtime));
  CHECK_OK(kiln_runtime_prepare(runtime, requests, 4, keep_report, &reports));
  CHECK(reports.count >= 1 && reports.last.struct_size == sizeof(kiln_progress));
  CHECK(reports.last.done == 3 && reports.last.total == 3);
  CHECK_OK(kiln_runtime_prepare(runtime, requests, 1, NULL, NULL));
  CHECK_OK(kiln_runtime_prepare(runtime, NULL, 0, NULL, NULL));
  CHECK_OK(kiln_runtime_stats(runtime, &stats));
  CHECK(stats.struct_size == sizeof(stats) && stats.compiles == 3 && stats.memory_hits == 1);
  CHECK(stats.launches == 0 && stats.disk_hits == 0 && stats.precompiled_hits == 0 && stats.compile_ms > 0);
  kiln_runtime_destroy(runtime);

  CHECK_OK(kiln_runtime_create(options, &runtime));
  CHECK_OK(kiln_runtime_prepare(runtime, requests, 4, NULL, NULL));
  CHECK_OK(kiln_runtime_stats(runtime, &stats));
  CHECK(stats.compiles == 0 && stats.disk_hits == 3 && stats.load_ms > 0);
  requests[1].kind = 3;
  CHECK_REFUSED(kiln_runtime_prepare(runtime, requests, 4, NULL, NULL), "requests[1]: kind is 3");
  kiln_runtime_destroy(runtime);
  kiln_options_destroy(options);
}

void test_kernels(void) {
  kiln_runtime* runtime = NULL;
  setenv("KILN_CUDA_PATH", KILN_FAKE_CUDA_PATH, 1);
  setenv("KILN_NVRTC_PATH", KILN_NVRTC_SHIM, 1);
  setenv("KILN_CACHE_DIR", "", 1);
  CHECK_OK(kiln_runtime_create(NULL, &runtime)); /* from the environment */
  forward_launches_what_the_arguments_say(runtime);
  every_feature_reaches_the_kernel(runtime);
  decode_launches_what_the_arguments_say(runtime);
  merge_launches_what_the_arguments_say(runtime);
  a_shared_prefix_is_three_launches(runtime);
  tells_what_a_kernel_is(runtime);
  kiln_runtime_destroy(runtime);
  unsetenv("KILN_CUDA_PATH");
  unsetenv("KILN_NVRTC_PATH");
  unsetenv("KILN_CACHE_DIR");
  a_kernel_lives_as_long_as_its_owners();
  prepares_and_counts();
}
