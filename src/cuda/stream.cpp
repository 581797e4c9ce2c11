#include "cuda/stream.hpp"

#include "cuda/cuda_error.hpp"
#include "cuda/relaxed_capture.hpp"

#include <utility>

namespace kiln::cuda {

StreamHandle::StreamHandle(std::shared_ptr<const Driver> driver) : driver_(std::move(driver)) {
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "making a stream", functions);
}

StreamHandle::~StreamHandle() { driver_->functions().cuStreamDestroy(stream_); }

void StreamHandle::synchronize() const {
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuStreamSynchronize(stream_), "waiting for a stream", functions);
}

Event::Event(std::shared_ptr<const Driver> driver) : driver_(std::move(driver)) {
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuEventCreate(&event_, CU_EVENT_DEFAULT), "making an event", functions);
}

Event::~Event() {
  if (event_ != nullptr) driver_->functions().cuEventDestroy(event_);
}

Event::Event(Event&& other) noexcept
    : driver_(std::move(other.driver_)), event_(std::exchange(other.event_, nullptr)) {}

Event& Event::operator=(Event&& other) noexcept {
  std::swap(driver_, other.driver_);
  std::swap(event_, other.event_);
  return *this;
}

void Event::record(Stream stream) {
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuEventRecord(event_, stream), "recording an event", functions);
}

void Event::synchronize() const {
  const DriverFunctions& functions = driver_->functions();
  check(functions.cuEventSynchronize(event_), "waiting for an event", functions);
}

bool Event::reached() const {
  const DriverFunctions& functions = driver_->functions();
  const RelaxedCapture relaxed(functions);
  return functions.cuEventQuery(event_) != CUDA_ERROR_NOT_READY;
}

double milliseconds_between(const Event& begin, const Event& end) {
  end.synchronize();
  const DriverFunctions& functions = end.driver_->functions();
  float milliseconds = 0;
  check(functions.event_elapsed_time(&milliseconds, begin.event_, end.event_), "timing two events", functions);
  return milliseconds;
}

}  // namespace kiln::cuda
