#include "cli/exit_codes.hpp"

#include "cuda/driver.hpp"
#include "jit/compiler.hpp"

namespace kiln::cli {
namespace {

bool has_driver(const Options& options) {
  try {
    (void)cuda::Driver::load(options.cuda_path);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

ExitCode exit_code(ErrorCode code, const Options& options) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return ExitCode::usage;
    case ErrorCode::unsupported:
    case ErrorCode::missing_kernel:
      return ExitCode::missing;
    case ErrorCode::compile:
      return jit::find_compiler(options.nvrtc_path) ? ExitCode::compile : ExitCode::missing;
    case ErrorCode::cuda:
      return has_driver(options) ? ExitCode::cuda : ExitCode::missing;
    case ErrorCode::capturing:
      return ExitCode::cuda;
    case ErrorCode::io:
      return ExitCode::io;
    case ErrorCode::cancelled:
      return ExitCode::interrupted;
  }
  return ExitCode::wrong;
}

std::string exit_code_help() {
  return "Exit codes:\n"
         "  0    all is well\n"
         "  1    it ran, and a result is wrong or a kept kernel is damaged\n"
         "  2    an argument, option, KILN_* variable or input file is malformed\n"
         "  3    no GPU, driver, NVRTC or precompiled kernel, or a request that is not supported\n"
         "  4    a kernel does not compile\n"
         "  5    the CUDA driver returned an error\n"
         "  6    a file can't be read or written\n"
         "  130  interrupted; what was finished is kept\n";
}

}  // namespace kiln::cli
