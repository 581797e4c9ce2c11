#pragma once

#include <kiln/error.hpp>
#include <kiln/options.hpp>

#include <string>

namespace kiln::cli {

/// What `kiln` returns to the shell; `kiln --help` lists them.
enum class ExitCode {
  ok = 0,
  wrong = 1,    ///< it ran, and a result or a kept kernel is not right
  usage = 2,    ///< an argument, option or input file is malformed
  missing = 3,  ///< no GPU, driver, NVRTC or kernel, or a request this build can't meet
  compile = 4,
  cuda = 5,
  io = 6,
  interrupted = 130,  ///< Ctrl-C; what was finished is kept
};

/// An error that only says that NVRTC or the driver is not there is `missing`, not `compile` or `cuda`.
ExitCode exit_code(ErrorCode code, const Options& options);

/// The table for `kiln --help`.
std::string exit_code_help();

}  // namespace kiln::cli
