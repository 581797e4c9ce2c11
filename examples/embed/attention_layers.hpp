#pragma once

#include "config.hpp"
#include "gpu.hpp"

#include <array>
#include <cstddef>
#include <vector>

/// The attention of a model's layers over a cache of keys and values: the part to copy.
///
/// Every call only queues work on the stream that it is given.
class AttentionLayers {
 public:
  /// What the layers launch, for Runtime::prepare.
  static std::array<kiln::KernelRequest, 2> kernels(const Model& model);

  AttentionLayers(const Config& config, const kiln::Runtime& runtime);

  /// All prompt tokens at once. q and out are [batch, prompt, heads_q, head_dim]; the layer's keys and
  /// values of the prompt already stand in its cache.
  void prefill(int layer, const Buffer& q, const Buffer& out, kiln::Stream stream) const;
  /// One more token per sequence. q and out are [batch, heads_q, head_dim]; `lengths`, on the device,
  /// counts the tokens in the cache, the new one included.
  void decode(int layer, const Buffer& q, const Buffer& out, const Buffer& lengths, kiln::Stream stream) const;

  /// [batch, prompt + new_tokens, heads_kv, head_dim]
  [[nodiscard]] const Buffer& keys(int layer) const { return keys_.at(static_cast<std::size_t>(layer)); }
  [[nodiscard]] const Buffer& values(int layer) const { return values_.at(static_cast<std::size_t>(layer)); }
  [[nodiscard]] const kiln::KernelInfo& forward_info() const { return forward_.info(); }
  [[nodiscard]] const kiln::KernelInfo& decode_info() const { return decode_.info(); }

 private:
  [[nodiscard]] kiln::DecodeArgs decode_args() const;

  Config config_;
  int max_len_;
  kiln::Strides cache_strides_;
  kiln::ForwardKernel forward_;
  kiln::DecodeKernel decode_;
  std::vector<Buffer> keys_;
  std::vector<Buffer> values_;
  Buffer workspace_;  ///< one for all layers: they run one after the other on one stream
};
