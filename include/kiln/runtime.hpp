#pragma once

#include <kiln/attention.hpp>
#include <kiln/export.h>
#include <kiln/merge.hpp>
#include <kiln/options.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

struct CUstream_st;

namespace kiln {

/// A CUstream (and a cudaStream_t: they are one type). nullptr is the default stream.
using Stream = CUstream_st*;

enum class KernelKind : std::uint8_t { forward, decode, merge };

/// What prepare() needs to know of a kernel.
struct KernelRequest {
  KernelKind kind = KernelKind::forward;
  AttentionConfig config{};  ///< of forward and decode
  MergeConfig merge{};       ///< of a merge

  auto operator<=>(const KernelRequest&) const = default;
};

/// Where a kernel came from when it was last asked for.
enum class Origin : std::uint8_t { precompiled, disk, compiled };

/// What a person wants to know about a loaded kernel.
struct KernelInfo {
  KernelRequest request{};
  std::string target{};     ///< "sm_90"
  std::string kernel_id{};  ///< 64 hex digits; docs/CACHE.md
  Origin origin = Origin::compiled;
  int registers = 0;
  int spill_bytes = 0;
  int smem_bytes = 0;
  double compile_ms = 0;  ///< 0 unless origin is compiled
};

namespace detail {
class BackgroundJobs;
class LoadedKernel;
class RuntimeState;
}  // namespace detail

/// A kernel ready to launch on one device. Cheap to copy, safe to use from many threads, and valid
/// after its Runtime is gone. launch() renders, hashes and allocates nothing and never synchronises.
class KILN_API ForwardKernel {
 public:
  /// Queues one call on `stream`, which belongs to the caller's current context.
  void launch(Stream stream, const ForwardArgs& args) const;
  [[nodiscard]] const KernelInfo& info() const;

 private:
  friend class Runtime;
  explicit ForwardKernel(std::shared_ptr<const detail::LoadedKernel> kernel);
  std::shared_ptr<const detail::LoadedKernel> kernel_;
};

/// As ForwardKernel, for few new tokens per sequence.
class KILN_API DecodeKernel {
 public:
  void launch(Stream stream, const DecodeArgs& args) const;
  /// Exact size of the workspace that a call with these shapes needs; pointers are not looked at.
  [[nodiscard]] std::size_t workspace_bytes(const DecodeArgs& args) const;
  [[nodiscard]] const KernelInfo& info() const;

 private:
  friend class Runtime;
  explicit DecodeKernel(std::shared_ptr<const detail::LoadedKernel> kernel);
  std::shared_ptr<const detail::LoadedKernel> kernel_;
};

/// As ForwardKernel, for merging the results of attention over different keys.
class KILN_API MergeKernel {
 public:
  void launch(Stream stream, const MergeArgs& args) const;
  [[nodiscard]] const KernelInfo& info() const;

 private:
  friend class Runtime;
  explicit MergeKernel(std::shared_ptr<const detail::LoadedKernel> kernel);
  std::shared_ptr<const detail::LoadedKernel> kernel_;
};

class SharedPrefixDecode;

struct Progress {
  int done = 0;
  int total = 0;
  double seconds_left = 0;  ///< an estimate; 0 while there is none
};
using ProgressCallback = std::function<void(const Progress&)>;

/// Kernels being made ready in the background, by Runtime::prepare_async(). Destroying it cancels what is not done and
/// waits until the threads have stopped; it keeps alive what it needs of its Runtime. All members but the moves may be
/// called from many threads at once.
class KILN_API Preparation {
 public:
  Preparation(Preparation&& other) noexcept;
  Preparation& operator=(Preparation&& other) noexcept;
  ~Preparation();

  /// Waits until every kernel was made ready or given up. Throws the first failure, or Error(cancelled) if there was
  /// none but cancel() left kernels unmade. The progress callback is not called any more when it returns.
  void wait() const;
  /// Whether wait() would return, or throw, at once.
  [[nodiscard]] bool done() const noexcept;
  /// Asks for a stop and returns. Kernels not begun are dropped, compiles that run end within a fraction of a second
  /// (an NVRTC without nvrtcSetFlowCallback finishes them first); what is ready stays. A call elsewhere that waits for
  /// the same kernel is not cancelled: it makes the kernel itself.
  void cancel() const noexcept;

 private:
  friend class Runtime;
  explicit Preparation(std::unique_ptr<detail::BackgroundJobs> jobs);
  std::unique_ptr<detail::BackgroundJobs> jobs_;
};

/// Counters since the Runtime was made.
struct Stats {
  std::uint64_t memory_hits = 0;
  std::uint64_t precompiled_hits = 0;
  std::uint64_t disk_hits = 0;
  std::uint64_t compiles = 0;
  std::uint64_t launches = 0;
  double compile_ms = 0;  ///< summed over threads
  double load_ms = 0;     ///< reading, verifying and handing kernels to the driver
};

/// Finds, builds and keeps kernels for one device. Make one per device and keep it; all members may
/// be called from many threads at once. It works in the caller's current CUDA context and never
/// changes it. In a child made by fork() every call is an Error(cuda). docs/EMBEDDING.md says more.
class KILN_API Runtime {
 public:
  explicit Runtime(const Options& options = Options::from_environment());

  /// The kernel for a config: from memory, a precompiled folder, the disk, or NVRTC, in this order.
  /// While a stream of the current context is being captured, a kernel that would have to be compiled is
  /// an Error(capturing): ask before, or use prepare(). (Streams made CU_STREAM_NON_BLOCKING can't be
  /// seen from here; launch() below looks at its own stream.)
  [[nodiscard]] ForwardKernel forward(const AttentionConfig& config) const;
  [[nodiscard]] DecodeKernel decode(const AttentionConfig& config) const;
  [[nodiscard]] MergeKernel merge(const MergeConfig& config) const;
  /// Three kernels; <kiln/shared_prefix.hpp>. What hides or shifts keys by their position (windows, ALiBi, a bias,
  /// a top-left diagonal) is refused.
  [[nodiscard]] SharedPrefixDecode shared_prefix_decode(const AttentionConfig& config) const;

  /// The same in one step, for a caller that keeps configs rather than handles. If the kernel is not in
  /// memory while `stream` is being captured, the call fails with ErrorCode::capturing.
  void launch(const AttentionConfig& config, Stream stream, const ForwardArgs& args) const;
  void launch(const AttentionConfig& config, Stream stream, const DecodeArgs& args) const;
  void launch(const MergeConfig& config, Stream stream, const MergeArgs& args) const;

  /// Makes all of these ready, compiling in parallel, those first that take longest. One that fails does not stop the
  /// others; the first failure is thrown when all have ended. May be called while a stream is being captured.
  /// `progress` is called from this thread, with `done` growing; if it throws, the rest is dropped and that is thrown.
  void prepare(std::span<const KernelRequest> requests, const ProgressCallback& progress = {}) const;

  /// The same without waiting for it. `progress` is called from a thread of Kiln's own, one call at a time. It may call
  /// cancel(), but not wait().
  [[nodiscard]] Preparation prepare_async(std::span<const KernelRequest> requests,
                                          ProgressCallback progress = {}) const;

  [[nodiscard]] Stats stats() const;

 private:
  std::shared_ptr<detail::RuntimeState> state_;
};

}  // namespace kiln
