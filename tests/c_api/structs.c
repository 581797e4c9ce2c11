#include "c_api/check.h"
#include "c_api/machine.h"

#include <stdio.h>
#include <string.h>

/* Structs as a newer header may have them. */
typedef struct NewerForwardArgs {
  kiln_forward_args known;
  int64_t newer[2];
} NewerForwardArgs;
typedef struct NewerPrefix {
  kiln_shared_prefix known;
  int64_t newer;
} NewerPrefix;
typedef struct NewerRequest {
  kiln_kernel_request known;
  int64_t newer;
} NewerRequest;
typedef struct NewerStats {
  kiln_stats known;
  int64_t newer;
} NewerStats;

static void a_shorter_struct_gets_defaults(const kiln_runtime* runtime) {
  kiln_attention_config config = kiln_attention_config_init();
  kiln_forward_args args = machine_forward_args();
  kiln_decode_args decode = machine_decode_args();
  kiln_shared_prefix prefix = machine_shared_prefix();
  kiln_shared_prefix_decode* shared = NULL;
  kiln_kernel_request request = kiln_kernel_request_init();
  char text[KILN_CONFIG_TEXT_BYTES];
  int32_t ints[2];
  FakeLaunch launch;

  config.struct_size = offsetof(kiln_attention_config, head_dim_v);
  config.head_dim_v = 77; /* beyond what the struct says it has */
  config.window = 77;
  CHECK_OK(kiln_attention_config_text(&config, text, sizeof(text)));
  CHECK(strcmp(text, "bf16 d128") == 0);

  fake.set_params_bytes(312); /* of the struct in kernels.c */
  request.struct_size = offsetof(kiln_kernel_request, merge_config);
  request.config = &config;
  request.merge_config = machine_address(3);
  CHECK_OK(kiln_runtime_prepare(runtime, &request, 1, NULL, NULL));
  request.kind = KILN_KIND_MERGE;
  CHECK_REFUSED(kiln_runtime_prepare(runtime, &request, 1, NULL, NULL), "requests[0]: merge_config is null");

  args.struct_size = offsetof(kiln_forward_args, lse);
  args.lse = machine_address(3);
  args.has_scale = args.window_left = args.window_right = 77;
  CHECK_OK(kiln_runtime_launch_forward(runtime, &config, NULL, &args));
  CHECK(fake.launch(fake.launch_count() - 1, &launch));
  memcpy(ints, launch.params + 268, sizeof(ints)); /* the window's sides */
  CHECK(ints[0] == -1 && ints[1] == -1);

  decode.struct_size = offsetof(kiln_decode_args, window_left);
  decode.window_left = decode.num_splits = 77;
  fake.set_params_bytes(0); /* what follows launches kernels of either kind */
  decode.max_len_k = 64;    /* not worth a split, so no workspace is needed */
  CHECK_OK(kiln_runtime_launch_decode(runtime, &config, NULL, &decode));

  decode = machine_decode_args();
  prefix.struct_size = offsetof(kiln_shared_prefix, length);
  prefix.length = machine_address(3);
  prefix.page_table = machine_address(5);
  CHECK_OK(kiln_shared_prefix_get(runtime, &config, &shared));
  CHECK_OK(kiln_shared_prefix_workspace_bytes(shared, &decode, &prefix, &decode.workspace_bytes));
  decode.workspace = machine_address(0x100000);
  CHECK_OK(kiln_shared_prefix_launch(shared, NULL, &decode, &prefix));
  kiln_shared_prefix_release(shared);
}

static void a_longer_struct_may_hold_zeros_only(const kiln_runtime* runtime) {
  const kiln_attention_config config = kiln_attention_config_init();
  const kiln_decode_args decode = machine_decode_args();
  kiln_shared_prefix_decode* shared = NULL;
  size_t bytes = 0;
  NewerForwardArgs args;
  NewerPrefix prefix;
  memset(&args, 0, sizeof(args));
  args.known = machine_forward_args();
  args.known.struct_size = sizeof(args);
  CHECK_OK(kiln_runtime_launch_forward(runtime, &config, NULL, &args.known));
  args.newer[1] = (int64_t)1 << 56;
  CHECK_REFUSED(kiln_runtime_launch_forward(runtime, &config, NULL, &args.known),
                "kiln_forward_args.struct_size is 320: Kiln");
  CHECK(strstr(kiln_last_error(), "knows the first 304 bytes, and byte 319") != NULL);

  memset(&prefix, 0, sizeof(prefix));
  prefix.known = machine_shared_prefix();
  prefix.known.struct_size = sizeof(prefix);
  CHECK_OK(kiln_shared_prefix_get(runtime, &config, &shared));
  CHECK_OK(kiln_shared_prefix_workspace_bytes(shared, &decode, &prefix.known, &bytes));
  prefix.newer = 1;
  CHECK_REFUSED(kiln_shared_prefix_launch(shared, NULL, &decode, &prefix.known),
                "kiln_shared_prefix.struct_size is 104: Kiln");
  kiln_shared_prefix_release(shared);
}

static void no_version_has_such_a_size(const kiln_runtime* runtime) {
  static const size_t config_sizes[] = {0, 1, 7, 12, 71, 73, 4104, SIZE_MAX};
  static const size_t forward_sizes[] = {0, 8, 152, 164, 303, 305, 4104, SIZE_MAX - 7};
  static const size_t decode_sizes[] = {0, 8, 144, 156, 199, 201, 4104, SIZE_MAX - 7};
  static const size_t prefix_sizes[] = {0, 8, 72, 84, 95, 97, 4104, SIZE_MAX - 7};
  kiln_attention_config config = kiln_attention_config_init();
  kiln_forward_args forward = machine_forward_args();
  kiln_decode_args decode = machine_decode_args();
  kiln_shared_prefix prefix = machine_shared_prefix();
  kiln_shared_prefix_decode* shared = NULL;
  kiln_kernel_request request = kiln_kernel_request_init();
  kiln_stats stats = kiln_stats_init();
  char says[64];
  size_t i = 0;
  CHECK_OK(kiln_shared_prefix_get(runtime, &config, &shared));
  for (i = 0; i < sizeof(config_sizes) / sizeof(config_sizes[0]); ++i) {
    kiln_attention_config bad = config;
    bad.struct_size = config_sizes[i];
    snprintf(says, sizeof(says), "kiln_attention_config.struct_size is %llu:", (unsigned long long)bad.struct_size);
    CHECK_REFUSED(kiln_runtime_launch_forward(runtime, &bad, NULL, &forward), says);
    forward.struct_size = forward_sizes[i];
    snprintf(says, sizeof(says), "kiln_forward_args.struct_size is %llu:", (unsigned long long)forward.struct_size);
    CHECK_REFUSED(kiln_runtime_launch_forward(runtime, &config, NULL, &forward), says);
    forward.struct_size = sizeof(forward);
    decode.struct_size = sizeof(decode);
    prefix.struct_size = prefix_sizes[i];
    snprintf(says, sizeof(says), "kiln_shared_prefix.struct_size is %llu:", (unsigned long long)prefix.struct_size);
    CHECK_REFUSED(kiln_shared_prefix_launch(shared, NULL, &decode, &prefix), says);
    decode.struct_size = decode_sizes[i];
    snprintf(says, sizeof(says), "kiln_decode_args.struct_size is %llu:", (unsigned long long)decode.struct_size);
    CHECK_REFUSED(kiln_runtime_launch_decode(runtime, &config, NULL, &decode), says);
  }
  CHECK(strstr(kiln_last_error(), "kiln_decode_args_init() sets it") != NULL);
  kiln_shared_prefix_release(shared);
  request.config = &config;
  request.struct_size = 16;
  CHECK_REFUSED(kiln_runtime_prepare(runtime, &request, 1, NULL, NULL), "kiln_kernel_request.struct_size is 16:");
  stats.struct_size = 60;
  CHECK_REFUSED(kiln_runtime_stats(runtime, &stats), "kiln_stats.struct_size is 60:");
}

static void requests_lie_their_size_apart(const kiln_runtime* runtime) {
  kiln_attention_config configs[2];
  NewerRequest requests[2];
  kiln_stats before = kiln_stats_init();
  kiln_stats after = kiln_stats_init();
  memset(requests, 0, sizeof(requests));
  configs[0] = configs[1] = kiln_attention_config_init();
  configs[0].head_dim_qk = configs[1].head_dim_v = 64;
  requests[0].known.struct_size = requests[1].known.struct_size = sizeof(requests[0]);
  requests[0].known.config = &configs[0];
  requests[1].known.config = &configs[1];
  CHECK_OK(kiln_runtime_stats(runtime, &before));
  CHECK_OK(kiln_runtime_prepare(runtime, &requests[0].known, 2, NULL, NULL));
  CHECK_OK(kiln_runtime_stats(runtime, &after));
  CHECK(after.compiles == before.compiles + 2);
  requests[1].known.struct_size = sizeof(kiln_kernel_request);
  CHECK_REFUSED(kiln_runtime_prepare(runtime, &requests[0].known, 2, NULL, NULL),
                "requests[1].struct_size is 32: it must be 40");
  requests[1].known.struct_size = sizeof(requests[1]);
  requests[1].known.reserved = 4;
  CHECK_REFUSED(kiln_runtime_prepare(runtime, &requests[0].known, 2, NULL, NULL), "requests[1]: reserved is 4");
}

static void results_fill_what_there_is(const kiln_runtime* runtime) {
  kiln_stats whole = kiln_stats_init();
  kiln_stats shorter;
  NewerStats longer;
  memset(&shorter, 0x77, sizeof(shorter));
  memset(&longer, 0x77, sizeof(longer));
  shorter.struct_size = offsetof(kiln_stats, compile_ms);
  longer.known.struct_size = sizeof(longer);
  CHECK_OK(kiln_runtime_stats(runtime, &whole));
  CHECK_OK(kiln_runtime_stats(runtime, &shorter));
  CHECK_OK(kiln_runtime_stats(runtime, &longer.known));
  CHECK(whole.launches > 0);
  CHECK(shorter.launches == whole.launches && shorter.struct_size == offsetof(kiln_stats, compile_ms));
  CHECK(*(const unsigned char*)&shorter.compile_ms == 0x77);
  CHECK(longer.known.launches == whole.launches && longer.known.struct_size == sizeof(longer) && longer.newer == 0);
}

static void values_of_no_enumeration(const kiln_runtime* runtime) {
  static const struct {
    size_t offset;
    const char* says;
  } rows[] = {
      {offsetof(kiln_attention_config, dtype), "dtype is -1: it must be 0 (KILN_F16), 1 (KILN_BF16) or 2 (KILN_F32)"},
      {offsetof(kiln_attention_config, causal), "causal is -1"},
      {offsetof(kiln_attention_config, alignment), "alignment is -1: it must be 0 (KILN_BOTTOM_RIGHT)"},
      {offsetof(kiln_attention_config, window), "window is -1: it must be 0 (KILN_WINDOW_NONE)"},
      {offsetof(kiln_attention_config, softcap), "softcap is -1"},
      {offsetof(kiln_attention_config, bias), "bias is -1: it must be 0 (KILN_BIAS_NONE)"},
      {offsetof(kiln_attention_config, ragged), "ragged is -1"},
      {offsetof(kiln_attention_config, allow_tf32), "allow_tf32 is -1"}};
  const int32_t bad_value = -1;
  const kiln_attention_config config = kiln_attention_config_init();
  const kiln_decode_args decode = machine_decode_args();
  kiln_shared_prefix prefix = machine_shared_prefix();
  kiln_shared_prefix_decode* shared = NULL;
  kiln_forward_kernel* kernel = NULL;
  kiln_forward_args args = machine_forward_args();
  size_t i = 0;
  for (i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
    kiln_attention_config bad = config;
    memcpy((char*)&bad + rows[i].offset, &bad_value, sizeof(bad_value));
    CHECK_REFUSED(kiln_forward_get(runtime, &bad, &kernel), rows[i].says);
  }
  args.scale = 0.5F;
  CHECK_REFUSED(kiln_runtime_launch_forward(runtime, &config, NULL, &args), "scale is 0.5, but has_scale is 0");
  args.has_scale = 2;
  CHECK_REFUSED(kiln_runtime_launch_forward(runtime, &config, NULL, &args), "has_scale is 2");
  args = machine_forward_args();
  args.reserved = 1;
  CHECK_REFUSED(kiln_runtime_launch_forward(runtime, &config, NULL, &args), "reserved is 1");
  prefix.reserved = 1;
  CHECK_OK(kiln_shared_prefix_get(runtime, &config, &shared));
  CHECK_REFUSED(kiln_shared_prefix_launch(shared, NULL, &decode, &prefix), "reserved is 1");
  kiln_shared_prefix_release(shared);
}

void test_structs(void) {
  kiln_runtime* const runtime = machine_runtime();
  a_shorter_struct_gets_defaults(runtime);
  a_longer_struct_may_hold_zeros_only(runtime);
  no_version_has_such_a_size(runtime);
  requests_lie_their_size_apart(runtime);
  results_fill_what_there_is(runtime);
  values_of_no_enumeration(runtime);
  kiln_runtime_destroy(runtime);
}
