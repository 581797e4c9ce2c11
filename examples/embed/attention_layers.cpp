#include "attention_layers.hpp"

#include <cstdint>

namespace {

kiln::AttentionConfig attention_config(const Model& model) {
  return {.dtype = model.dtype, .head_dim_qk = model.head_dim, .head_dim_v = model.head_dim, .causal = true};
}

}  // namespace

std::array<kiln::KernelRequest, 2> AttentionLayers::kernels(const Model& model) {
  return {{{kiln::KernelKind::forward, attention_config(model)}, {kiln::KernelKind::decode, attention_config(model)}}};
}

// The handles serve every layer and call. A kernel that is not prepared is compiled here, if no cache has it.
AttentionLayers::AttentionLayers(const Config& config, const kiln::Runtime& runtime)
    : config_(config),
      max_len_(config.prompt + config.new_tokens),
      cache_strides_(kiln::Strides::bshd(max_len_, config.model.heads_kv, config.model.head_dim)),
      forward_(runtime.forward(attention_config(config.model))),
      decode_(runtime.decode(attention_config(config.model))),
      workspace_(decode_.workspace_bytes(decode_args())) {
  const auto cache_bytes = static_cast<std::size_t>(config.batch * cache_strides_.batch) * 2;  // both types: 2 bytes
  for (int layer = 0; layer < config.model.layers; ++layer) {
    keys_.emplace_back(cache_bytes);
    values_.emplace_back(cache_bytes);
  }
}

void AttentionLayers::prefill(int layer, const Buffer& q, const Buffer& out, kiln::Stream stream) const {
  const Model& model = config_.model;
  const auto strides = kiln::Strides::bshd(config_.prompt, model.heads_q, model.head_dim);
  forward_.launch(stream, {.q = {q.as(), strides},
                           .k = {keys(layer).as(), cache_strides_},
                           .v = {values(layer).as(), cache_strides_},
                           .out = {out.as(), strides},
                           .batch = config_.batch,
                           .len_q = config_.prompt,
                           .len_k = config_.prompt,
                           .heads_q = model.heads_q,
                           .heads_kv = model.heads_kv});
}

void AttentionLayers::decode(int layer, const Buffer& q, const Buffer& out, const Buffer& lengths,
                             kiln::Stream stream) const {
  kiln::DecodeArgs args = decode_args();
  args.q.data = q.as();
  args.k_cache.data = keys(layer).as();
  args.v_cache.data = values(layer).as();
  args.out.data = out.as();
  args.lengths = lengths.as<std::int32_t>();
  args.workspace = workspace_.as();
  args.workspace_bytes = workspace_.bytes();
  decode_.launch(stream, args);
}

// The shapes, which every decode call shares.
kiln::DecodeArgs AttentionLayers::decode_args() const {
  const Model& model = config_.model;
  const auto one_token = kiln::Strides::bshd(1, model.heads_q, model.head_dim);
  return {.q = {nullptr, one_token},
          .k_cache = {nullptr, cache_strides_},
          .v_cache = {nullptr, cache_strides_},
          .out = {nullptr, one_token},
          .batch = config_.batch,
          .max_len_k = max_len_,
          .heads_q = model.heads_q,
          .heads_kv = model.heads_kv};
}
