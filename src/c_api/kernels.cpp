#include "c_api/convert.hpp"
#include "c_api/handles.hpp"
#include "c_api/status.hpp"
#include "c_api/structs.hpp"

using kiln::c_api::create;
using kiln::c_api::guarded;
using kiln::c_api::read_struct;
using kiln::c_api::required;
using kiln::c_api::to_c;
using kiln::c_api::write_struct;

namespace {

template <class Handle>
void release(Handle* handle) {
  if (handle != nullptr && handle->release()) delete handle;
}

template <class Kernel>
kiln_status retain(Kernel* kernel) {
  return guarded([&] { required(kernel, "kernel").retain(); });
}

template <class Kernel, class Args>
kiln_status launch(const Kernel* kernel, kiln_stream stream, const Args* args) {
  return guarded([&] { required(kernel, "kernel").handle.launch(stream, read_struct(args, "args")); });
}

template <class Kernel>
kiln_status info_of(const Kernel* kernel, kiln_kernel_info* info) {
  return guarded([&] {
    const auto& counted = required(kernel, "kernel");
    write_struct(info, to_c(counted.handle.info(), counted.config, counted.merge_config), "info");
  });
}

}  // namespace

kiln_status kiln_forward_get(const kiln_runtime* runtime, const kiln_attention_config* config,
                             kiln_forward_kernel** kernel) {
  return create(kernel, "kernel", [&] {
    return new kiln_forward_kernel(required(runtime, "runtime").runtime.forward(read_struct(config, "config")));
  });
}

kiln_status kiln_decode_get(const kiln_runtime* runtime, const kiln_attention_config* config,
                            kiln_decode_kernel** kernel) {
  return create(kernel, "kernel", [&] {
    return new kiln_decode_kernel(required(runtime, "runtime").runtime.decode(read_struct(config, "config")));
  });
}

kiln_status kiln_merge_get(const kiln_runtime* runtime, const kiln_merge_config* config, kiln_merge_kernel** kernel) {
  return create(kernel, "kernel", [&] {
    return new kiln_merge_kernel(required(runtime, "runtime").runtime.merge(read_struct(config, "config")));
  });
}

kiln_status kiln_forward_retain(kiln_forward_kernel* kernel) { return retain(kernel); }
kiln_status kiln_decode_retain(kiln_decode_kernel* kernel) { return retain(kernel); }
kiln_status kiln_merge_retain(kiln_merge_kernel* kernel) { return retain(kernel); }

void kiln_forward_release(kiln_forward_kernel* kernel) { release(kernel); }
void kiln_decode_release(kiln_decode_kernel* kernel) { release(kernel); }
void kiln_merge_release(kiln_merge_kernel* kernel) { release(kernel); }

kiln_status kiln_forward_launch(const kiln_forward_kernel* kernel, kiln_stream stream, const kiln_forward_args* args) {
  return launch(kernel, stream, args);
}

kiln_status kiln_decode_launch(const kiln_decode_kernel* kernel, kiln_stream stream, const kiln_decode_args* args) {
  return launch(kernel, stream, args);
}

kiln_status kiln_merge_launch(const kiln_merge_kernel* kernel, kiln_stream stream, const kiln_merge_args* args) {
  return launch(kernel, stream, args);
}

kiln_status kiln_decode_workspace_bytes(const kiln_decode_kernel* kernel, const kiln_decode_args* args, size_t* bytes) {
  return guarded(
      [&] { required(bytes, "bytes") = required(kernel, "kernel").handle.workspace_bytes(read_struct(args, "args")); });
}

kiln_status kiln_forward_info(const kiln_forward_kernel* kernel, kiln_kernel_info* info) {
  return info_of(kernel, info);
}

kiln_status kiln_decode_info(const kiln_decode_kernel* kernel, kiln_kernel_info* info) { return info_of(kernel, info); }
kiln_status kiln_merge_info(const kiln_merge_kernel* kernel, kiln_kernel_info* info) { return info_of(kernel, info); }

kiln_status kiln_shared_prefix_get(const kiln_runtime* runtime, const kiln_attention_config* config,
                                   kiln_shared_prefix_decode** decode) {
  return create(decode, "decode", [&] {
    return new kiln_shared_prefix_decode(
        required(runtime, "runtime").runtime.shared_prefix_decode(read_struct(config, "config")));
  });
}

kiln_status kiln_shared_prefix_retain(kiln_shared_prefix_decode* decode) {
  return guarded([&] { required(decode, "decode").retain(); });
}

void kiln_shared_prefix_release(kiln_shared_prefix_decode* decode) { release(decode); }

kiln_status kiln_shared_prefix_launch(const kiln_shared_prefix_decode* decode, kiln_stream stream,
                                      const kiln_decode_args* args, const kiln_shared_prefix* prefix) {
  return guarded([&] {
    required(decode, "decode").handle.launch(stream, read_struct(args, "args"), read_struct(prefix, "prefix"));
  });
}

kiln_status kiln_shared_prefix_workspace_bytes(const kiln_shared_prefix_decode* decode, const kiln_decode_args* args,
                                               const kiln_shared_prefix* prefix, size_t* bytes) {
  return guarded([&] {
    required(bytes, "bytes") =
        required(decode, "decode").handle.workspace_bytes(read_struct(args, "args"), read_struct(prefix, "prefix"));
  });
}
