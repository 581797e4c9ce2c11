#pragma once

#include "cuda/driver.hpp"
#include "cuda/stream.hpp"

#include <kiln/runtime.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace kiln::api {

/// Options::check_workspaces: finds two streams in one workspace at once.
///
/// It remembers for each call which workspace it uses, on which stream, and an event behind it, until that has been
/// reached. Calls that are captured pass unseen, since nobody knows when a graph runs, and so do its replays. Contexts
/// are kept apart, by numbers that are never given out twice: an event is touched only while its own context is
/// current, so contexts may be destroyed at any time.
class WorkspaceCheck {
 public:
  explicit WorkspaceCheck(std::shared_ptr<const cuda::Driver> driver) : driver_(std::move(driver)) {}
  ~WorkspaceCheck();
  WorkspaceCheck(const WorkspaceCheck&) = delete;
  WorkspaceCheck& operator=(const WorkspaceCheck&) = delete;

  /// Calls `queue`, which queues on `stream` what uses `workspace`; Error(invalid_argument) instead if a call on
  /// another stream that uses part of it has not finished. May be called from many threads.
  void launch(Stream stream, std::span<const std::byte> workspace, const std::function<void()>& queue);

 private:
  struct Use {
    std::span<const std::byte> workspace;
    Stream stream;
    std::uint64_t
        stream_id;  ///< handles of destroyed streams come again, and each thread's default stream has the same
    cuda::Event done;
  };

  std::shared_ptr<const cuda::Driver> driver_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::vector<Use>> unfinished_;  ///< by context
};

}  // namespace kiln::api
