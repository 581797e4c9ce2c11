// A kernel's place in its stream, from compute capability 9.0 on (programmatic dependent launch).
#pragma once

#include "device/ptx.cuh"

namespace kiln::device {

/// The first thing a kernel does, every thread of it. The next kernel may then be placed as blocks of this one end, so
/// that its launch takes no time of its own; and this one, which may have been placed that early, waits until what
/// comes before it in the stream is done. Without the launch attribute both do nothing.
KILN_DEVICE void follow_in_stream() {
  ptx::griddepcontrol_launch_dependents();
  ptx::griddepcontrol_wait();
}

}  // namespace kiln::device
