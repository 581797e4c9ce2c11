#pragma once

#include "cli/commands.hpp"

#include <functional>
#include <optional>
#include <string>

namespace kiln::cli {

/// Options that every command takes; they stand above KILN_*, which stand above the file.
struct GlobalWords {
  std::optional<std::filesystem::path> options_file;
  std::optional<int> device;
  std::optional<int> jobs;
  std::optional<std::filesystem::path> cache_dir;
  std::optional<std::filesystem::path> template_dir;
  bool json = false;
};

/// A command with its arguments, ready to run.
struct Invocation {
  GlobalWords global;
  std::function<ExitCode(const Common&)> command;
};

/// Empty if there is nothing to run: help was asked for and printed. A bad argument is an
/// Error(invalid_argument).
std::optional<Invocation> parse_arguments(int argc, const char* const* argv);

}  // namespace kiln::cli
