#pragma once

#include "cuda/device_memory.hpp"
#include "tune/check.hpp"
#include "tune/gpu.hpp"
#include "tune/host_data.hpp"
#include "tune/problem.hpp"

#include <cstdint>

namespace kiln::tune {

/// The tensors of one problem on the GPU. Keys and values may be there several times, so that calls
/// in a row find none of theirs in L2.
class DeviceTensors {
 public:
  /// The given inputs, once.
  DeviceTensors(const Gpu& gpu, const Problem& problem, const HostInputs& inputs);
  /// Random ones, keys and values in `copies`; lengths that the problem leaves open are full.
  DeviceTensors(const Gpu& gpu, const Problem& problem, int copies, std::uint64_t seed);

  [[nodiscard]] const Problem& problem() const { return problem_; }
  [[nodiscard]] int copies() const { return copies_; }
  /// Arguments of the call that uses copy `turn` modulo copies(). Decode has no workspace yet.
  [[nodiscard]] ForwardArgs forward_args(int turn) const;
  [[nodiscard]] DecodeArgs decode_args(int turn) const;

  /// Fills the outputs with NaN, so that whatever a kernel forgets shows.
  void poison_outputs();
  [[nodiscard]] HostOutputs download() const;

 private:
  void upload_small(const Gpu& gpu, const HostInputs& inputs);
  void make_outputs(const Gpu& gpu);
  [[nodiscard]] Input cache(const cuda::DeviceBuffer& copies, int head_dim, int turn) const;
  [[nodiscard]] BiasInput bias() const;
  [[nodiscard]] Pages pages() const;

  Problem problem_;
  int copies_;
  cuda::DeviceBuffer q_;
  cuda::DeviceBuffer k_;
  cuda::DeviceBuffer v_;
  cuda::DeviceBuffer bias_;
  cuda::DeviceBuffer lengths_;
  cuda::DeviceBuffer lengths_q_;
  cuda::DeviceBuffer pages_;
  cuda::DeviceBuffer alibi_slopes_;
  cuda::DeviceBuffer sinks_;
  cuda::DeviceBuffer out_;
  cuda::DeviceBuffer lse_;
};

/// How many copies of keys and values make calls in a row miss L2: at most `most`.
int copies_against_l2(const Problem& problem, int most);

}  // namespace kiln::tune
