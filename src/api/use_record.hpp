#pragma once

#include "base/log.hpp"

#include <kiln/runtime.hpp>

#include <filesystem>
#include <mutex>
#include <optional>
#include <set>
#include <string>

namespace kiln::api {

/// Adds the kernels that a Runtime is asked for to a file that `kiln precompile` reads: a line each, of the form that a
/// manifest's kernels have. Lines are only ever added, each with one write, so any number of processes may share a
/// file.
class UseRecord {
 public:
  /// `file`: none, or an empty path, records nothing.
  UseRecord(const std::optional<std::filesystem::path>& file, int capability, base::Logger log);

  /// From any thread. Trouble with the file is one warning; nothing more is recorded then.
  void note(const KernelRequest& canonical);

 private:
  [[nodiscard]] std::string line_of(const KernelRequest& request) const;
  /// Empty, or what there is to warn of.
  [[nodiscard]] std::string add_once(const KernelRequest& request);

  std::filesystem::path file_;
  int capability_;
  base::Logger log_;
  std::mutex mutex_;
  bool failed_ = false;
  std::set<KernelRequest> noted_;
};

}  // namespace kiln::api
