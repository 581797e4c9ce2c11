#pragma once

#include "base/log.hpp"

#include <kiln/options.hpp>

#include <filesystem>

namespace kiln::api {

/// Where kernels are kept: Options::cache_dir, else $XDG_CACHE_HOME/kiln, else ~/.cache/kiln. Empty, with
/// one warning, where there is no home; empty, without, where the options say so.
std::filesystem::path cache_folder(const Options& options, const base::Logger& log);

}  // namespace kiln::api
