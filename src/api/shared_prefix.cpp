#include "api/check_args.hpp"
#include "api/check_merge_args.hpp"
#include "api/check_values.hpp"
#include "api/shared_prefix_calls.hpp"
#include "base/fail.hpp"

#include <kiln/shared_prefix.hpp>

#include <algorithm>

namespace kiln {
namespace {

/// Says which of the calls a refusal is about.
template <class Call>
auto of_prefix(const Call& call) {
  try {
    return call();
  } catch (const Error& error) {
    base::fail(error.code(), "of the shared prefix: {}", error.what());
  }
}

api::SharedPrefixLayout layout_of(const DecodeKernel& prefix_kernel, const DecodeKernel& own_kernel,
                                  const DecodeArgs& args, const SharedPrefix& prefix) {
  const std::size_t own = own_kernel.workspace_bytes(args);
  const std::size_t shared = of_prefix([&] { return prefix_kernel.workspace_bytes(api::prefix_args(args, prefix)); });
  return {std::max(own, shared), args, own_kernel.info().request.config.head_dim_v};
}

void check_workspace(const DecodeArgs& args, std::size_t needed_bytes) {
  if (args.workspace_bytes < needed_bytes) {
    base::fail(ErrorCode::invalid_argument,
               "workspace_bytes is {}: this call needs {} (SharedPrefixDecode::workspace_bytes)", args.workspace_bytes,
               needed_bytes);
  }
  api::check_pointer("workspace", args.workspace, api::kAlignmentBytes);
}

}  // namespace

SharedPrefixDecode::SharedPrefixDecode(DecodeKernel prefix, DecodeKernel own, MergeKernel merge)
    : prefix_(std::move(prefix)), own_(std::move(own)), merge_(std::move(merge)) {}

std::size_t SharedPrefixDecode::workspace_bytes(const DecodeArgs& args, const SharedPrefix& prefix) const {
  api::check_shape(own_.info().request.config, args);
  api::check_shared_prefix(args);
  return api::writes_nothing(args) ? 0 : layout_of(prefix_, own_, args, prefix).bytes;
}

void SharedPrefixDecode::launch(Stream stream, const DecodeArgs& args, const SharedPrefix& prefix) const {
  const auto& config = own_.info().request.config;
  api::check_shape(config, args);
  api::check_shared_prefix(args);
  if (api::writes_nothing(args)) return;
  const api::SharedPrefixLayout layout = layout_of(prefix_, own_, args, prefix);
  check_workspace(args, layout.bytes);
  const api::SharedPrefixCalls calls(args, prefix, layout, config.head_dim_v);
  // All of it before the first is queued: a stream being captured shall get the whole of it or nothing.
  api::check(config, calls.own);
  of_prefix([&] { api::check(prefix_.info().request.config, calls.prefix); });
  api::check(merge_.info().request.merge, calls.merge);
  prefix_.launch(stream, calls.prefix);
  own_.launch(stream, calls.own);
  merge_.launch(stream, calls.merge);
}

SharedPrefixDecode Runtime::shared_prefix_decode(const AttentionConfig& config) const {
  const api::SharedPrefixConfigs configs(config);
  return {decode(configs.prefix), decode(configs.own), merge(configs.merge)};
}

}  // namespace kiln
