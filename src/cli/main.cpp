#include "cli/arguments.hpp"

#include <kiln/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <new>
#include <string>

namespace {

using kiln::ErrorCode;
using kiln::Options;
using kiln::cli::ExitCode;

Options make_options(const kiln::cli::GlobalWords& words) {
  Options options = words.options_file ? Options::from_file(*words.options_file) : Options{};
  options.apply_environment();
  if (words.device) options.device = *words.device;
  if (words.jobs) options.compile_jobs = *words.jobs;
  if (words.cache_dir) options.cache_dir = *words.cache_dir;
  if (words.template_dir) options.template_dir = *words.template_dir;
  return options;
}

std::string command_line(int argc, const char* const* argv) {
  std::string text = "kiln";
  for (int i = 1; i < argc; ++i) text += std::string(" ") + argv[i];
  return text;
}

ExitCode report(ErrorCode code, std::string_view message, const Options& options) {
  // One line, whatever is in it: scripts read the last one.
  std::string line(message);
  std::ranges::replace(line, '\n', ' ');
  kiln::cli::print_error(fmt::format("kiln: {}\n", line));
  return kiln::cli::exit_code(code, options);
}

ExitCode run(int argc, const char* const* argv) {
  Options options;
  try {
    const auto invocation = kiln::cli::parse_arguments(argc, argv);
    if (!invocation) return ExitCode::ok;
    options = make_options(invocation->global);
    return invocation->command({.options = options,
                                .json = invocation->global.json,
                                .terminal = kiln::cli::Terminal::detect(),
                                .command = command_line(argc, argv)});
  } catch (const kiln::Error& error) {
    return report(error.code(), error.what(), options);
  } catch (const std::filesystem::filesystem_error& error) {
    return report(ErrorCode::io, error.what(), options);
  } catch (const std::bad_alloc&) {
    return report(ErrorCode::io, "out of memory", options);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return static_cast<int>(run(argc, argv));
  } catch (const std::exception& error) {
    kiln::cli::print_error(fmt::format("kiln: unexpected: {}\n", error.what()));
    return static_cast<int>(ExitCode::wrong);
  }
}
