#pragma once

#include "cuda/driver.hpp"

#include <memory>

struct CUevent_st;

namespace kiln::cuda {

/// A stream of the current context that does not wait for the default stream. For the tool, the
/// tuner and tests: the library works in its caller's streams.
class StreamHandle {
 public:
  explicit StreamHandle(std::shared_ptr<const Driver> driver);
  ~StreamHandle();
  StreamHandle(const StreamHandle&) = delete;
  StreamHandle& operator=(const StreamHandle&) = delete;

  [[nodiscard]] Stream get() const noexcept { return stream_; }
  /// Waits for the stream's work.
  void synchronize() const;

 private:
  std::shared_ptr<const Driver> driver_;
  Stream stream_ = nullptr;
};

/// A point in a stream that can be waited for and timed. It belongs to the context that was current when it was made.
class Event {
 public:
  explicit Event(std::shared_ptr<const Driver> driver);
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;

  void record(Stream stream);
  /// Waits until the stream has come to it.
  void synchronize() const;
  /// Whether the stream has come to it, or never will since the context has failed. Also while a stream is captured.
  [[nodiscard]] bool reached() const;
  /// Gives it up to its context, which destroys it in the end: for one that may be destroyed already.
  void leave() noexcept { event_ = nullptr; }

 private:
  friend double milliseconds_between(const Event& begin, const Event& end);
  std::shared_ptr<const Driver> driver_;
  CUevent_st* event_ = nullptr;
};

/// GPU time between two recorded events; waits for the second.
double milliseconds_between(const Event& begin, const Event& end);

}  // namespace kiln::cuda
