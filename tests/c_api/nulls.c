#include "c_api/check.h"
#include "c_api/machine.h"

#include <string.h>

static void of_options(void) {
  kiln_options* options = NULL;
  CHECK_REFUSED(kiln_options_create(NULL), "options is null");
  CHECK_REFUSED(kiln_options_from_environment(NULL), "options is null");
  CHECK_REFUSED(kiln_options_from_file("kiln.json", NULL), "options is null");
  CHECK_REFUSED(kiln_options_from_file(NULL, &options), "path is null");
  CHECK_REFUSED(kiln_options_from_json("{}", "here", NULL), "options is null");
  CHECK_REFUSED(kiln_options_from_json(NULL, "here", &options), "text is null");
  CHECK_REFUSED(kiln_options_set(NULL, "jit", "off"), "options is null");
  CHECK_REFUSED(kiln_options_apply_environment(NULL), "options is null");
  CHECK_REFUSED(kiln_options_set_log(NULL, NULL, NULL), "options is null");
  CHECK_REFUSED(kiln_options_add_pack(NULL, "", 1), "options is null");
  CHECK_OK(kiln_options_create(&options));
  CHECK_REFUSED(kiln_options_add_pack(options, NULL, 1), "pack is null");
  CHECK_REFUSED(kiln_options_set(options, NULL, "off"), "key is null");
  CHECK_REFUSED(kiln_options_set(options, "jit", NULL), "value is null");
  kiln_options_destroy(options);
  kiln_options_destroy(NULL);
}

static void of_the_runtime(const kiln_runtime* runtime) {
  const kiln_attention_config config = kiln_attention_config_init();
  const kiln_forward_args forward = machine_forward_args();
  const kiln_decode_args decode = machine_decode_args();
  kiln_kernel_request request = kiln_kernel_request_init();
  kiln_stats stats = kiln_stats_init();
  kiln_options* const options = machine_options();
  char text[KILN_CONFIG_TEXT_BYTES];
  CHECK_REFUSED(kiln_runtime_create(options, NULL), "runtime is null");
  CHECK_REFUSED(kiln_runtime_prepare(runtime, NULL, 1, NULL, NULL), "requests is null");
  CHECK_REFUSED(kiln_runtime_prepare(runtime, &request, 1, NULL, NULL), "requests[0]: config is null");
  request.config = &config;
  CHECK_REFUSED(kiln_runtime_prepare(NULL, &request, 1, NULL, NULL), "runtime is null");
  CHECK_REFUSED(kiln_runtime_stats(NULL, &stats), "runtime is null");
  CHECK_REFUSED(kiln_runtime_stats(runtime, NULL), "stats is null");
  CHECK_REFUSED(kiln_runtime_launch_forward(NULL, &config, NULL, &forward), "runtime is null");
  CHECK_REFUSED(kiln_runtime_launch_forward(runtime, NULL, NULL, &forward), "config is null");
  CHECK_REFUSED(kiln_runtime_launch_forward(runtime, &config, NULL, NULL), "args is null");
  CHECK_REFUSED(kiln_runtime_launch_decode(NULL, &config, NULL, &decode), "runtime is null");
  CHECK_REFUSED(kiln_runtime_launch_decode(runtime, NULL, NULL, &decode), "config is null");
  CHECK_REFUSED(kiln_runtime_launch_decode(runtime, &config, NULL, NULL), "args is null");
  CHECK_REFUSED(kiln_attention_config_text(NULL, text, sizeof(text)), "config is null");
  CHECK_REFUSED(kiln_attention_config_text(&config, NULL, sizeof(text)), "text is null");
  kiln_options_destroy(options);
  kiln_runtime_destroy(NULL);
}

static void of_preparations(const kiln_runtime* runtime) {
  const kiln_kernel_request request = kiln_kernel_request_init();
  kiln_preparation* preparation = NULL;
  int32_t done = 0;
  CHECK_REFUSED(kiln_runtime_prepare_async(NULL, NULL, 0, NULL, NULL, &preparation), "runtime is null");
  CHECK_REFUSED(kiln_runtime_prepare_async(runtime, NULL, 1, NULL, NULL, &preparation), "requests is null");
  CHECK_REFUSED(kiln_runtime_prepare_async(runtime, &request, 1, NULL, NULL, &preparation),
                "requests[0]: config is null");
  CHECK_REFUSED(kiln_runtime_prepare_async(runtime, NULL, 0, NULL, NULL, NULL), "preparation is null");
  CHECK_REFUSED(kiln_preparation_wait(NULL), "preparation is null");
  CHECK_REFUSED(kiln_preparation_done(NULL, &done), "preparation is null");
  CHECK_REFUSED(kiln_preparation_cancel(NULL), "preparation is null");
  CHECK_OK(kiln_runtime_prepare_async(runtime, NULL, 0, NULL, NULL, &preparation));
  CHECK_REFUSED(kiln_preparation_done(preparation, NULL), "done is null");
  kiln_preparation_destroy(preparation);
  kiln_preparation_destroy(NULL);
}

static void of_forward_kernels(const kiln_runtime* runtime) {
  const kiln_attention_config config = kiln_attention_config_init();
  const kiln_forward_args args = machine_forward_args();
  kiln_kernel_info info = kiln_kernel_info_init();
  kiln_forward_kernel* kernel = NULL;
  CHECK_REFUSED(kiln_forward_get(NULL, &config, &kernel), "runtime is null");
  CHECK_REFUSED(kiln_forward_get(runtime, NULL, &kernel), "config is null");
  CHECK_REFUSED(kiln_forward_get(runtime, &config, NULL), "kernel is null");
  CHECK_OK(kiln_forward_get(runtime, &config, &kernel));
  CHECK_REFUSED(kiln_forward_launch(NULL, NULL, &args), "kernel is null");
  CHECK_REFUSED(kiln_forward_launch(kernel, NULL, NULL), "args is null");
  CHECK_REFUSED(kiln_forward_info(NULL, &info), "kernel is null");
  CHECK_REFUSED(kiln_forward_info(kernel, NULL), "info is null");
  CHECK_REFUSED(kiln_forward_retain(NULL), "kernel is null");
  kiln_forward_release(kernel);
  kiln_forward_release(NULL);
}

static void of_decode_kernels(const kiln_runtime* runtime) {
  const kiln_attention_config config = kiln_attention_config_init();
  const kiln_decode_args args = machine_decode_args();
  kiln_kernel_info info = kiln_kernel_info_init();
  kiln_decode_kernel* kernel = NULL;
  size_t bytes = 0;
  CHECK_REFUSED(kiln_decode_get(NULL, &config, &kernel), "runtime is null");
  CHECK_REFUSED(kiln_decode_get(runtime, NULL, &kernel), "config is null");
  CHECK_REFUSED(kiln_decode_get(runtime, &config, NULL), "kernel is null");
  CHECK_OK(kiln_decode_get(runtime, &config, &kernel));
  CHECK_REFUSED(kiln_decode_launch(NULL, NULL, &args), "kernel is null");
  CHECK_REFUSED(kiln_decode_launch(kernel, NULL, NULL), "args is null");
  CHECK_REFUSED(kiln_decode_info(NULL, &info), "kernel is null");
  CHECK_REFUSED(kiln_decode_info(kernel, NULL), "info is null");
  CHECK_REFUSED(kiln_decode_workspace_bytes(NULL, &args, &bytes), "kernel is null");
  CHECK_REFUSED(kiln_decode_workspace_bytes(kernel, NULL, &bytes), "args is null");
  CHECK_REFUSED(kiln_decode_workspace_bytes(kernel, &args, NULL), "bytes is null");
  CHECK_REFUSED(kiln_decode_retain(NULL), "kernel is null");
  kiln_decode_release(kernel);
  kiln_decode_release(NULL);
}

static void of_merge_kernels(const kiln_runtime* runtime) {
  const kiln_merge_config config = kiln_merge_config_init();
  const kiln_merge_args args = machine_merge_args();
  kiln_kernel_request request = kiln_kernel_request_init();
  kiln_kernel_info info = kiln_kernel_info_init();
  kiln_merge_kernel* kernel = NULL;
  CHECK_REFUSED(kiln_merge_get(NULL, &config, &kernel), "runtime is null");
  CHECK_REFUSED(kiln_merge_get(runtime, NULL, &kernel), "config is null");
  CHECK_REFUSED(kiln_merge_get(runtime, &config, NULL), "kernel is null");
  CHECK_OK(kiln_merge_get(runtime, &config, &kernel));
  CHECK_REFUSED(kiln_merge_launch(NULL, NULL, &args), "kernel is null");
  CHECK_REFUSED(kiln_merge_launch(kernel, NULL, NULL), "args is null");
  CHECK_REFUSED(kiln_merge_info(NULL, &info), "kernel is null");
  CHECK_REFUSED(kiln_merge_info(kernel, NULL), "info is null");
  CHECK_REFUSED(kiln_merge_retain(NULL), "kernel is null");
  CHECK_REFUSED(kiln_runtime_launch_merge(NULL, &config, NULL, &args), "runtime is null");
  CHECK_REFUSED(kiln_runtime_launch_merge(runtime, NULL, NULL, &args), "config is null");
  CHECK_REFUSED(kiln_runtime_launch_merge(runtime, &config, NULL, NULL), "args is null");
  request.kind = KILN_KIND_MERGE;
  CHECK_REFUSED(kiln_runtime_prepare(runtime, &request, 1, NULL, NULL), "requests[0]: merge_config is null");
  kiln_merge_release(kernel);
  kiln_merge_release(NULL);
}

static void of_shared_prefixes(const kiln_runtime* runtime) {
  const kiln_attention_config config = kiln_attention_config_init();
  const kiln_decode_args args = machine_decode_args();
  const kiln_shared_prefix prefix = machine_shared_prefix();
  kiln_shared_prefix_decode* decode = NULL;
  size_t bytes = 0;
  CHECK_REFUSED(kiln_shared_prefix_get(NULL, &config, &decode), "runtime is null");
  CHECK_REFUSED(kiln_shared_prefix_get(runtime, NULL, &decode), "config is null");
  CHECK_REFUSED(kiln_shared_prefix_get(runtime, &config, NULL), "decode is null");
  CHECK_OK(kiln_shared_prefix_get(runtime, &config, &decode));
  CHECK_REFUSED(kiln_shared_prefix_launch(NULL, NULL, &args, &prefix), "decode is null");
  CHECK_REFUSED(kiln_shared_prefix_launch(decode, NULL, NULL, &prefix), "args is null");
  CHECK_REFUSED(kiln_shared_prefix_launch(decode, NULL, &args, NULL), "prefix is null");
  CHECK_REFUSED(kiln_shared_prefix_workspace_bytes(NULL, &args, &prefix, &bytes), "decode is null");
  CHECK_REFUSED(kiln_shared_prefix_workspace_bytes(decode, NULL, &prefix, &bytes), "args is null");
  CHECK_REFUSED(kiln_shared_prefix_workspace_bytes(decode, &args, NULL, &bytes), "prefix is null");
  CHECK_REFUSED(kiln_shared_prefix_workspace_bytes(decode, &args, &prefix, NULL), "bytes is null");
  CHECK_REFUSED(kiln_shared_prefix_retain(NULL), "decode is null");
  kiln_shared_prefix_release(decode);
  kiln_shared_prefix_release(NULL);
}

/* Device pointers are the C++ side's to check; here only that each reaches it under its own name. */
static void of_device_memory(const kiln_runtime* runtime) {
  const kiln_attention_config config = kiln_attention_config_init();
  const kiln_forward_args forward = machine_forward_args();
  const kiln_decode_args decode = machine_decode_args();
  static const char* const names[2][4] = {{"q is null", "k is null", "v is null", "out is null"},
                                          {"q is null", "k_cache is null", "v_cache is null", "out is null"}};
  int i = 0;
  for (i = 0; i < 4; ++i) {
    kiln_forward_args bad = forward;
    kiln_decode_args bad_decode = decode;
    if (i < 3) {
      (&bad.q)[i].data = NULL;
      (&bad_decode.q)[i].data = NULL;
    } else {
      bad.out.data = NULL;
      bad_decode.out.data = NULL;
    }
    CHECK_REFUSED(kiln_runtime_launch_forward(runtime, &config, NULL, &bad), names[0][i]);
    CHECK_REFUSED(kiln_runtime_launch_decode(runtime, &config, NULL, &bad_decode), names[1][i]);
  }
}

void test_nulls(void) {
  kiln_runtime* const runtime = machine_runtime();
  of_options();
  of_the_runtime(runtime);
  of_preparations(runtime);
  of_forward_kernels(runtime);
  of_decode_kernels(runtime);
  of_merge_kernels(runtime);
  of_shared_prefixes(runtime);
  of_device_memory(runtime);
  CHECK(fake.launch_count() == 0);
  kiln_runtime_destroy(runtime);
}
