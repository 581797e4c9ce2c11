#include "gpu/call_tensors.hpp"

#include "support/element.hpp"

namespace kiln::test {
namespace {

Shape with_dim(Shape shape, int dim) {
  shape.dim = dim;
  return shape;
}

}  // namespace

CallTensors::CallTensors(const AttentionConfig& config, const Rows& queries, const Rows& keys)
    : q(config.dtype, queries.layout, with_dim(queries.shape, config.head_dim_qk)),
      k(config.dtype, keys.layout, with_dim(keys.shape, config.head_dim_qk)),
      v(config.dtype, keys.layout, with_dim(keys.shape, config.head_dim_v)),
      out(output_type(config), queries.layout, with_dim(queries.shape, config.head_dim_v)),
      lse(static_cast<std::size_t>(queries.shape.batch) * static_cast<std::size_t>(queries.shape.length) *
          static_cast<std::size_t>(queries.shape.heads)) {}

void CallTensors::fill(const BiasShape& bias_shape, std::size_t slopes, std::uint64_t seed) {
  const Problem truth = problem();
  const AttentionConfig& config = truth.config;
  fill_queries(q, truth, seed);
  fill_keys(k, truth, seed + 1);
  fill_keys(v, truth, seed + 2);
  if (config.bias != Bias::none) bias = BiasTensor(truth, bias_shape, seed + 3);
  if (config.alibi) alibi_slopes = random_slopes(slopes, seed + 4);
  if (config.sinks) sinks = random_sinks(truth.heads_q, seed + 5);
  out.fill(kNan);  // what the kernel forgets to write shows, and what it must not
}

void CallTensors::upload() {
  for (Tensor* tensor : {&q, &k, &v, &out}) tensor->upload();
  lse.upload();
  bias.upload();
  alibi_slopes_ = on_device(alibi_slopes);
  sinks_ = on_device(sinks);
  page_table_ = on_device(page_table);
}

void CallTensors::upload_page_table() { put(page_table_, page_table); }

void CallTensors::clear_results() {
  out.fill(kNan);
  out.upload();
  lse.upload();
}

void CallTensors::put(cuda::DeviceBuffer& device, const std::vector<std::int32_t>& values) {
  if (!values.empty()) device.upload(std::as_bytes(std::span(values)));
}

::testing::AssertionResult CallTensors::matches_reference() {
  return matches(Judge(problem()));  // the GPU works meanwhile
}

::testing::AssertionResult CallTensors::matches(const Judge& judge) {
  const Problem truth = problem();
  Gpu::synchronize();
  out.download();
  if (!out.gaps_untouched()) return ::testing::AssertionFailure() << "written between rows\n  repro: " << repro();
  if (auto good = output_matches(truth, out.view(), judge, repro()); !good || !has_lse()) return good;
  return lse_matches(truth, lse.download(), judge, repro());
}

}  // namespace kiln::test
