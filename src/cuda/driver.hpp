#pragma once

#include "base/fork_guard.hpp"
#include "plan/device_info.hpp"

#include <kiln/runtime.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace kiln::cuda {

struct DriverFunctions;  // driver_functions.hpp, the only header that includes cuda.h

/// Whether blocks of a kernel may be placed while the kernel before it in the stream ends. It must wait for that one
/// itself (templates/device/stream_order.cuh).
enum class Overlap { no, yes };

/// libcuda, loaded at run time. Makes no context and changes no current one.
class Driver {
 public:
  /// Error(cuda) if libcuda is not found, too old, or cuInit fails; the message says what to do.
  static std::shared_ptr<const Driver> load(const std::optional<std::filesystem::path>& explicit_path);
  explicit Driver(std::unique_ptr<const DriverFunctions> functions);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  [[nodiscard]] int device_count() const;
  [[nodiscard]] plan::DeviceInfo device_info(int ordinal) const;
  /// The device of the caller's current context, if there is one.
  [[nodiscard]] std::optional<int> current_device() const noexcept;
  /// The current context by a number that no other one ever gets, as handles are; none if there is no live one.
  [[nodiscard]] std::optional<std::uint64_t> current_context_id() const noexcept;
  /// The same of a stream, also of a default one.
  [[nodiscard]] std::uint64_t stream_id(Stream stream) const;
  /// Whether the stream is being captured into a graph.
  [[nodiscard]] bool capturing(Stream stream) const noexcept;
  [[nodiscard]] int version() const;  ///< as cuDriverGetVersion: 13000
  /// How kernels of such a GPU are launched: as wanted if GPU and driver can, in streams and in graphs.
  [[nodiscard]] Overlap overlap(bool wanted, int capability) const;
  [[nodiscard]] std::filesystem::path path() const;

  [[nodiscard]] const DriverFunctions& functions() const noexcept { return *functions_; }

  /// Whether this process was forked off the one that loaded the driver. Nothing of it may be used then: its threads
  /// stayed behind, and its locks may be held for ever.
  [[nodiscard]] bool forked() const noexcept { return fork_guard_.forked(); }
  /// Error(cuda), saying so, if it was.
  void check_not_forked() const {
    if (forked()) fail_forked();
  }

 private:
  [[noreturn]] static void fail_forked();

  base::ForkGuard fork_guard_;
  std::unique_ptr<const DriverFunctions> functions_;
};

struct LaunchShape {
  unsigned grid_x = 1;
  unsigned grid_y = 1;
  unsigned grid_z = 1;
  unsigned threads = 1;
  unsigned smem_bytes = 0;
  bool may_overlap = true;  ///< if the module's kernels do
};

/// One loaded cubin and its entry. Launches in any context of its device.
class Module {
 public:
  /// The image must have been verified: the driver does not check it. Sets the kernel's attributes
  /// for `device`. Works while a stream is being captured.
  Module(std::shared_ptr<const Driver> driver, std::span<const std::byte> image, const std::string& entry,
         int dynamic_smem_bytes, int device, Overlap overlap = Overlap::no);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// Queues the kernel with one params struct. Allocates nothing.
  void launch(const LaunchShape& shape, Stream stream, const void* params) const;
  [[nodiscard]] int device() const noexcept { return device_; }
  [[nodiscard]] const Driver& driver() const noexcept { return *driver_; }

 private:
  std::shared_ptr<const Driver> driver_;
  void* library_ = nullptr;
  void* kernel_ = nullptr;
  int device_ = 0;
  Overlap overlap_ = Overlap::no;
};

}  // namespace kiln::cuda
