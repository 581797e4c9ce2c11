#include "api/background_jobs.hpp"
#include "api/loaded_kernel.hpp"
#include "api/runtime_state.hpp"

#include <kiln/runtime.hpp>

namespace kiln {

ForwardKernel::ForwardKernel(std::shared_ptr<const detail::LoadedKernel> kernel) : kernel_(std::move(kernel)) {}
void ForwardKernel::launch(Stream stream, const ForwardArgs& args) const { kernel_->launch(stream, args); }
const KernelInfo& ForwardKernel::info() const { return kernel_->info(); }

DecodeKernel::DecodeKernel(std::shared_ptr<const detail::LoadedKernel> kernel) : kernel_(std::move(kernel)) {}
void DecodeKernel::launch(Stream stream, const DecodeArgs& args) const { kernel_->launch(stream, args); }
std::size_t DecodeKernel::workspace_bytes(const DecodeArgs& args) const { return kernel_->workspace_bytes(args); }
const KernelInfo& DecodeKernel::info() const { return kernel_->info(); }

Runtime::Runtime(const Options& options) : state_(detail::RuntimeState::make(options)) {}

ForwardKernel Runtime::forward(const AttentionConfig& config) const {
  return ForwardKernel(state_->get({KernelKind::forward, config}, nullptr));
}

DecodeKernel Runtime::decode(const AttentionConfig& config) const {
  return DecodeKernel(state_->get({KernelKind::decode, config}, nullptr));
}

void Runtime::launch(const AttentionConfig& config, Stream stream, const ForwardArgs& args) const {
  state_->get({KernelKind::forward, config}, stream)->launch(stream, args);
}

void Runtime::launch(const AttentionConfig& config, Stream stream, const DecodeArgs& args) const {
  state_->get({KernelKind::decode, config}, stream)->launch(stream, args);
}

void Runtime::prepare(std::span<const KernelRequest> requests, const ProgressCallback& progress) const {
  state_->prepare(requests, progress);
}

Preparation Runtime::prepare_async(std::span<const KernelRequest> requests, ProgressCallback progress) const {
  return Preparation(state_->prepare_async(requests, std::move(progress)));
}

Preparation::Preparation(std::unique_ptr<detail::BackgroundJobs> jobs) : jobs_(std::move(jobs)) {}
Preparation::Preparation(Preparation&&) noexcept = default;
Preparation& Preparation::operator=(Preparation&&) noexcept = default;
Preparation::~Preparation() = default;

void Preparation::wait() const {
  if (jobs_) jobs_->wait();
}

bool Preparation::done() const noexcept { return !jobs_ || jobs_->done(); }

void Preparation::cancel() const noexcept {
  if (jobs_) jobs_->cancel();
}

Stats Runtime::stats() const { return state_->stats(); }

}  // namespace kiln
