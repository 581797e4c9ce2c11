// Streams and their capture; events, which read a clock that only launches move.
#include "fake_cuda/state.hpp"

#include <cstring>
#include <functional>

using fake_cuda::Capture;
using fake_cuda::enter;
using fake_cuda::Event;
using fake_cuda::find_stream;
using fake_cuda::State;
using fake_cuda::Stream;

namespace fake_cuda {

CUresult unsafe_call(State& all) {
  const CUstreamCaptureMode mode = all.thread().mode;
  if (mode == CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_SUCCESS;
  CUresult result = CUDA_SUCCESS;
  for (auto& [handle, stream] : all.streams) {
    if (!stream.capture) continue;
    const bool own = stream.capture->thread == std::this_thread::get_id();
    const bool forbids =
        own ? stream.capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED
            : mode == CU_STREAM_CAPTURE_MODE_GLOBAL && stream.capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (!forbids) continue;
    stream.capture->invalidated = true;
    result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return result;
}

bool default_stream_captured(State& all) {
  for (auto& [handle, stream] : all.streams) {
    if (stream.capture && stream.waits_for_default && stream.context == all.current_handle()) return true;
  }
  return false;
}

FoundStream find_stream(State& all, CUstream handle) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
    if (all.current() == nullptr) return {all.no_context()};
    return {default_stream_captured(all) ? CUDA_ERROR_STREAM_CAPTURE_IMPLICIT : CUDA_SUCCESS};
  }
  Stream* stream = all.streams.find(handle);
  return {stream != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE, stream};
}

}  // namespace fake_cuda

extern "C" {

CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
  return enter("cuStreamCreate", [&](State& all) {
    if (all.current() == nullptr) return all.no_context();
    *stream = static_cast<CUstream>(all.streams.make(
        {.context = all.current_handle(), .waits_for_default = (flags & CU_STREAM_NON_BLOCKING) == 0, .capture = {}}));
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamDestroy(CUstream stream) {
  return enter("cuStreamDestroy",
               [&](State& all) { return all.streams.erase(stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; });
}

CUresult cuStreamSynchronize(CUstream handle) {
  return enter("cuStreamSynchronize", [&](State& all) {
    const auto [result, stream] = find_stream(all, handle);
    if (result != CUDA_SUCCESS || stream == nullptr || !stream->capture) return result;
    stream->capture->invalidated = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  });
}

/// The fake gives no handle out twice; of the streams that all contexts have, each has its own.
CUresult cuStreamGetId(CUstream handle, unsigned long long* id) {
  return enter("cuStreamGetId", [&](State& all) {
    const auto [result, stream] = find_stream(all, handle);
    if (result != CUDA_SUCCESS) return result;
    *id = stream != nullptr ? reinterpret_cast<std::uintptr_t>(handle)
                            : reinterpret_cast<std::uintptr_t>(all.current_handle()) + 1;
    if (handle == CU_STREAM_PER_THREAD) *id += std::hash<std::thread::id>()(std::this_thread::get_id());
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
  return enter("cuStreamIsCapturing", [&](State& all) {
    const auto [result, stream] = find_stream(all, handle);
    if (result != CUDA_SUCCESS) return result;
    const bool captured = stream != nullptr && stream->capture;
    *status = !captured                      ? CU_STREAM_CAPTURE_STATUS_NONE
              : stream->capture->invalidated ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                             : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
  return enter("cuStreamBeginCapture", [&](State& all) {
    const auto [result, stream] = find_stream(all, handle);
    if (result != CUDA_SUCCESS) return result;
    if (stream == nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
    stream->capture = Capture{.mode = mode, .thread = std::this_thread::get_id(), .invalidated = false, .nodes = {}};
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph* graph) {
  return enter("cuStreamEndCapture", [&](State& all) {
    *graph = nullptr;
    const auto [result, stream] = find_stream(all, handle);
    if (result != CUDA_SUCCESS) return result;
    if (stream == nullptr || !stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
    if (stream->capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
        stream->capture->thread != std::this_thread::get_id()) {
      return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    }
    const Capture capture = *std::exchange(stream->capture, std::nullopt);
    if (capture.invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    *graph = static_cast<CUgraph>(all.graphs.make(capture.nodes));
    return CUDA_SUCCESS;
  });
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  return enter("cuThreadExchangeStreamCaptureMode", [&](State& all) {
    std::swap(all.thread().mode, *mode);
    return CUDA_SUCCESS;
  });
}

CUresult cuEventCreate(CUevent* event, unsigned) {
  return enter("cuEventCreate", [&](State& all) {
    if (all.current() == nullptr) return all.no_context();
    *event =
        static_cast<CUevent>(all.events.make({.context = all.current_handle(), .milliseconds = {}, .held_in = {}}));
    return CUDA_SUCCESS;
  });
}

CUresult cuEventDestroy(CUevent event) {
  return enter("cuEventDestroy",
               [&](State& all) { return all.events.erase(event) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; });
}

CUresult cuEventRecord(CUevent handle, CUstream stream) {
  return enter("cuEventRecord", [&](State& all) {
    Event* event = all.events.find(handle);
    if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    const auto [result, found] = find_stream(all, stream);
    if (result != CUDA_SUCCESS) return result;
    if (event->context != (found != nullptr ? found->context : all.current_handle())) return CUDA_ERROR_INVALID_HANDLE;
    event->milliseconds = all.clock_ms;
    event->held_in = all.held_streams.contains(stream) ? std::optional(stream) : std::nullopt;
    return CUDA_SUCCESS;
  });
}

CUresult cuEventQuery(CUevent handle) {
  return enter("cuEventQuery", [&](State& all) {
    const Event* event = all.events.find(handle);
    if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    const CUresult unsafe = fake_cuda::unsafe_call(all);
    if (unsafe != CUDA_SUCCESS) return unsafe;
    return event->held_in ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
  });
}

CUresult cuEventSynchronize(CUevent event) {
  return enter("cuEventSynchronize", [&](State& all) {
    return all.events.find(event) != nullptr ? fake_cuda::unsafe_call(all) : CUDA_ERROR_INVALID_HANDLE;
  });
}

// cuda.h renames this one; Kiln takes the name that every driver has, whose prototype is the same.
#undef cuEventElapsedTime
__attribute__((visibility("default"))) CUresult cuEventElapsedTime(float* milliseconds, CUevent begin, CUevent end) {
  return enter("cuEventElapsedTime", [&](State& all) {
    const Event* first = all.events.find(begin);
    const Event* second = all.events.find(end);
    if (first == nullptr || second == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (!first->milliseconds || !second->milliseconds) return CUDA_ERROR_INVALID_HANDLE;
    *milliseconds = static_cast<float>(*second->milliseconds - *first->milliseconds);
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
