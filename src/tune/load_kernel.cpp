#include "tune/load_kernel.hpp"

namespace kiln::tune {

KernelPtr load_kernel(const Gpu& gpu, const KernelRequest& request, const plan::KernelConfig& config,
                      const cache::Entry& entry) {
  const KernelInfo info{.request = request,
                        .target = entry.target,
                        .kernel_id = entry.kernel_id,
                        .origin = Origin::compiled,
                        .registers = entry.registers,
                        .spill_bytes = entry.spill_bytes,
                        .smem_bytes = entry.smem_bytes,
                        .compile_ms = entry.compile_ms};
  auto module = std::make_unique<const cuda::Module>(gpu.driver(), entry.image.span(), entry.entry, entry.smem_bytes,
                                                     gpu.ordinal(), gpu.overlap());
  return std::make_shared<const detail::LoadedKernel>(info, config, gpu.info(), std::move(module),
                                                      std::make_shared<detail::Counters>());
}

}  // namespace kiln::tune
