#pragma once

#include "support/fake_cuda_control.hpp"
#include "support/temp_folder.hpp"

#include <kiln/kiln.hpp>

#include <gtest/gtest.h>

#include <fstream>
#include <mutex>
#include <string>
#include <vector>

namespace kiln::test {

/// A machine without a GPU or NVRTC that behaves as if it had both: fake libcuda, counting NVRTC
/// stand-in, a cache folder of its own, log lines kept.
class FakeMachine : public testing::Test {
 protected:
  [[nodiscard]] Options options() {
    Options out;
    out.cuda_path = FakeCuda::path();
    out.nvrtc_path = KILN_NVRTC_SHIM;
    out.cache_dir = folder.path() / "cache";
    out.log_level = LogLevel::warning;
    out.log = [this](LogLevel, std::string_view line) {
      const std::scoped_lock lock(log_mutex_);
      log_lines_.emplace_back(line);
    };
    return out;
  }

  /// How often NVRTC was asked to compile.
  [[nodiscard]] int compiles() const {
    std::ifstream file(folder.path() / "compiles");
    int lines = 0;
    for (std::string line; std::getline(file, line);) ++lines;
    return lines;
  }

  [[nodiscard]] std::vector<std::string> log_lines() {
    const std::scoped_lock lock(log_mutex_);
    return log_lines_;
  }

  FakeCuda fake;
  TempFolder folder;

 private:
  ScopedVariable use_fake_{"NVRTC_SHIM_FAKE", "1"};
  ScopedVariable count_file_{"NVRTC_SHIM_COUNT", (folder.path() / "compiles").c_str()};
  std::mutex log_mutex_;
  std::vector<std::string> log_lines_;
};

/// Calls that are right in every way but touch nothing: for launches that only the fake sees.
inline ForwardArgs forward_args() {
  const auto q = Strides::bshd(300, 8, 128);
  const auto kv = Strides::bshd(500, 2, 128);
  const auto at = [](std::uintptr_t address) { return reinterpret_cast<void*>(address); };
  return {.q = {at(0x10000), q},
          .k = {at(0x20000), kv},
          .v = {at(0x30000), kv},
          .out = {at(0x40000), q},
          .lse = static_cast<float*>(at(0x50000)),
          .batch = 3,
          .len_q = 300,
          .len_k = 500,
          .heads_q = 8,
          .heads_kv = 2};
}

}  // namespace kiln::test
