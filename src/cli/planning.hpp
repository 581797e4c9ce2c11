#pragma once

#include "cli/manifest.hpp"
#include "plan/kernel_config.hpp"
#include "plan/tuned_table.hpp"

#include <kiln/options.hpp>

#include <span>
#include <string_view>
#include <vector>

namespace kiln::cli {

/// The kernel for a typical GPU of an architecture; `tile` is empty for the planned one.
plan::KernelConfig planned(const KernelRequest& request, int architecture, std::string_view tile,
                           const Options& options);
std::vector<plan::KernelConfig> planned(std::span<const ManifestItem> items, std::string_view tile,
                                        const Options& options);

/// Every request on every architecture of --arch. Where somebody said "all", of requests or of architectures, what an
/// architecture has no arithmetic for is left out.
std::vector<ManifestItem> on_architectures(std::span<const KernelRequest> requests, std::string_view words,
                                           bool all_requests);

/// Every kernel that a GPU of this architecture may ask for: the tuned one, and the reasoned one that
/// those get which nobody tuned for.
std::vector<plan::KernelConfig> possible_configs(const KernelRequest& request, int architecture,
                                                 const Options& options);

}  // namespace kiln::cli
