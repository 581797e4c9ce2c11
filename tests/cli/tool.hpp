#pragma once

#include "base/json.hpp"
#include "support/fake_cuda_control.hpp"
#include "support/temp_folder.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace kiln::test {

struct ToolResult {
  int exit_code = -1;  ///< 128 + the signal that ended it
  std::string out;
  std::string err;

  [[nodiscard]] base::Json json() const { return base::Json::parse(out, "the tool's output"); }
};

/// Runs the built tool on a machine that has a fake driver, a fake and counting NVRTC, and a cache
/// folder of its own.
class Tool : public testing::Test {
 protected:
  using Variables = std::map<std::string, std::string>;

  /// Variables that a test sets or, given as "", unsets.
  Variables variables;

  [[nodiscard]] ToolResult run(const std::vector<std::string>& arguments) const { return wait(start(arguments)); }
  [[nodiscard]] pid_t start(const std::vector<std::string>& arguments) const;
  [[nodiscard]] ToolResult wait(pid_t process) const;

  /// How often NVRTC was asked to compile.
  [[nodiscard]] int compiles() const;

  TempFolder folder;

 private:
  [[nodiscard]] Variables environment() const;
};

}  // namespace kiln::test
