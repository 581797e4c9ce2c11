#include "base/fail.hpp"
#include "c_api/convert.hpp"
#include "c_api/handles.hpp"
#include "c_api/status.hpp"
#include "c_api/structs.hpp"

#include <vector>

using kiln::c_api::create;
using kiln::c_api::guarded;
using kiln::c_api::read_struct;
using kiln::c_api::required;
using kiln::c_api::to_c;
using kiln::c_api::write_struct;

namespace {

kiln::KernelRequest read_request(const kiln_kernel_request* given) {
  return read_struct(given, "requests", [](const kiln_kernel_request& request) -> kiln::KernelRequest {
    kiln::c_api::check_reserved(request.reserved);
    const auto kind = kiln::c_api::to_kind(request.kind);
    if (kind == kiln::KernelKind::merge) {
      return {.kind = kind, .merge = read_struct(request.merge_config, "merge_config")};
    }
    return {.kind = kind, .config = read_struct(request.config, "config")};
  });
}

/// The caller's structs may be shorter or longer than ours, so the first one's size is the way to the next.
std::vector<kiln::KernelRequest> read_requests(const kiln_kernel_request* requests, std::size_t count) {
  std::vector<kiln::KernelRequest> out;
  if (count == 0) return out;
  const std::size_t step = kiln::c_api::size_of(&required(requests, "requests"));
  const auto* next = reinterpret_cast<const char*>(requests);
  for (std::size_t i = 0; i < count; ++i, next += step) {
    if (const auto size = kiln::c_api::size_of(next); size != step) {
      kiln::base::fail(kiln::ErrorCode::invalid_argument,
                       "requests[{}].struct_size is {}: it must be {}, as the first one's", i, size, step);
    }
    try {
      out.push_back(read_request(reinterpret_cast<const kiln_kernel_request*>(next)));
    } catch (const kiln::Error& error) {
      kiln::base::fail(error.code(), "requests[{}]: {}", i, error.what());
    }
  }
  return out;
}

kiln::ProgressCallback callback_of(kiln_progress_callback callback, void* user) {
  if (callback == nullptr) return {};
  return [callback, user](const kiln::Progress& progress) {
    const kiln_progress as_c = to_c(progress);
    callback(&as_c, user);
  };
}

}  // namespace

kiln_status kiln_attention_config_text(const kiln_attention_config* config, char* text, size_t text_bytes) {
  return guarded([&] {
    const auto full = kiln::to_string(read_struct(config, "config"));
    required(text, "text");
    if (full.size() >= text_bytes) {
      kiln::base::fail(kiln::ErrorCode::invalid_argument, "text_bytes is {}: it must be at least {}", text_bytes,
                       full.size() + 1);
    }
    full.copy(text, full.size());
    text[full.size()] = '\0';
  });
}

kiln_status kiln_runtime_create(const kiln_options* options, kiln_runtime** runtime) {
  return create(runtime, "runtime", [&] {
    return new kiln_runtime{options != nullptr ? kiln::Runtime(options->options) : kiln::Runtime()};
  });
}

void kiln_runtime_destroy(kiln_runtime* runtime) { delete runtime; }

kiln_status kiln_runtime_prepare(const kiln_runtime* runtime, const kiln_kernel_request* requests, size_t request_count,
                                 kiln_progress_callback progress, void* user) {
  return guarded([&] {
    required(runtime, "runtime").runtime.prepare(read_requests(requests, request_count), callback_of(progress, user));
  });
}

kiln_status kiln_runtime_prepare_async(const kiln_runtime* runtime, const kiln_kernel_request* requests,
                                       size_t request_count, kiln_progress_callback progress, void* user,
                                       kiln_preparation** preparation) {
  return create(preparation, "preparation", [&] {
    return new kiln_preparation{
        required(runtime, "runtime")
            .runtime.prepare_async(read_requests(requests, request_count), callback_of(progress, user))};
  });
}

kiln_status kiln_preparation_wait(const kiln_preparation* preparation) {
  return guarded([&] { required(preparation, "preparation").preparation.wait(); });
}

kiln_status kiln_preparation_done(const kiln_preparation* preparation, int32_t* done) {
  return guarded([&] {
    const auto& asked = required(preparation, "preparation").preparation;
    required(done, "done") = asked.done() ? 1 : 0;
  });
}

kiln_status kiln_preparation_cancel(const kiln_preparation* preparation) {
  return guarded([&] { required(preparation, "preparation").preparation.cancel(); });
}

void kiln_preparation_destroy(kiln_preparation* preparation) { delete preparation; }

kiln_status kiln_runtime_stats(const kiln_runtime* runtime, kiln_stats* stats) {
  return guarded([&] { write_struct(stats, to_c(required(runtime, "runtime").runtime.stats()), "stats"); });
}

kiln_status kiln_runtime_launch_forward(const kiln_runtime* runtime, const kiln_attention_config* config,
                                        kiln_stream stream, const kiln_forward_args* args) {
  return guarded([&] {
    required(runtime, "runtime").runtime.launch(read_struct(config, "config"), stream, read_struct(args, "args"));
  });
}

kiln_status kiln_runtime_launch_decode(const kiln_runtime* runtime, const kiln_attention_config* config,
                                       kiln_stream stream, const kiln_decode_args* args) {
  return guarded([&] {
    required(runtime, "runtime").runtime.launch(read_struct(config, "config"), stream, read_struct(args, "args"));
  });
}

kiln_status kiln_runtime_launch_merge(const kiln_runtime* runtime, const kiln_merge_config* config, kiln_stream stream,
                                      const kiln_merge_args* args) {
  return guarded([&] {
    required(runtime, "runtime").runtime.launch(read_struct(config, "config"), stream, read_struct(args, "args"));
  });
}
