#pragma once

#include "cache/disk_store.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace kiln::api {

/// All that it takes to see a compile fail again.
struct FailedCompile {
  std::string name;
  std::string kernel_id;
  std::string source;
  std::vector<std::string> options;
  std::vector<std::string> environment;  ///< "NAME=value" of what else NVRTC heeds
  std::filesystem::path compiler;
  std::string log;
};

/// Keeps it in a folder of the store: source.cu, options.txt, log.txt, and repro.sh with one line that fails
/// alike. The latest 16 stay. Returns what to add to the error's message: the folder, or, where none can be
/// made or `store` is null, why not and the whole log.
std::string keep_failure(const cache::DiskStore* store, const FailedCompile& failed);

/// What `kiln compile --failed` reads back.
struct KeptFailure {
  std::string source;
  std::vector<std::string> options;
};
KeptFailure read_failure(const std::filesystem::path& folder);

}  // namespace kiln::api
