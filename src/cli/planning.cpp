#include "cli/planning.hpp"

#include "cli/selection.hpp"
#include "plan/plan.hpp"

#include <fmt/format.h>

namespace kiln::cli {

plan::KernelConfig planned(const KernelRequest& request, int architecture, std::string_view tile,
                           const Options& options) {
  const plan::DeviceInfo device = plan::reference_device(architecture);
  if (!tile.empty()) return plan::with_tiling(request, device, parse_tiling(tile));
  return plan::plan(request, device, plan::tuned_table(options.tuned_dir, architecture));
}

std::vector<ManifestItem> on_architectures(std::span<const KernelRequest> requests, std::string_view words,
                                           bool all_requests) {
  const bool chosen_one_by_one = !all_requests && words != "all";
  std::vector<ManifestItem> items;
  for (const int architecture : parse_architectures(words)) {
    for (const KernelRequest& request : requests) {
      if (chosen_one_by_one || plan::has_types(architecture, request)) {
        items.push_back({request, architecture});
      }
    }
  }
  return items;
}

std::vector<plan::KernelConfig> planned(std::span<const ManifestItem> items, std::string_view tile,
                                        const Options& options) {
  std::vector<plan::KernelConfig> configs;
  for (const auto& [request, architecture] : items) configs.push_back(planned(request, architecture, tile, options));
  return configs;
}

std::vector<plan::KernelConfig> possible_configs(const KernelRequest& request, int architecture,
                                                 const Options& options) {
  const plan::DeviceInfo device = plan::reference_device(architecture);
  std::vector<plan::KernelConfig> configs = {
      plan::plan(request, device, plan::tuned_table(options.tuned_dir, architecture))};
  const auto reasoned = plan::with_tiling(request, device, plan::reasoned_tiling(request, device));
  if (reasoned != configs.front()) configs.push_back(reasoned);
  return configs;
}

}  // namespace kiln::cli
