#include "gpu/decode_call.hpp"

#include "support/element.hpp"

#include <algorithm>
#include <cmath>

namespace kiln::test {
namespace {

constexpr int kTreeBits = 32;
constexpr int kSparePages = 3;
constexpr int kSpareEntries = 2;  // of a page table, behind a row or list

/// Only the caches may repeat their data; q is then dense, so that sequences differ.
Layout query_layout(Layout layout) { return layout == Layout::broadcast ? Layout::bshd : layout; }

/// Pages and rows that sequences choose have no batch to repeat them over.
Layout cache_layout(const DecodeCase& test) {
  return test.config.paged || !test.cache_rows.empty() ? query_layout(test.layout) : test.layout;
}

/// Rows of the cache, or of the page table. With rows that sequences choose, one that none does.
int cache_row_count(const DecodeCase& test) {
  if (test.cache_rows.empty()) return test.batch();
  return std::max(*std::ranges::max_element(test.cache_rows), 0) + 2;
}

int pages_of_a_row(const DecodeCase& test) { return (test.max_len_k + test.page_size - 1) / test.page_size; }

/// Room for every page of every sequence, and some that none has.
int page_count(const DecodeCase& test) {
  const auto& indptr = test.page_lists.indptr;
  return (indptr.empty() ? cache_row_count(test) * pages_of_a_row(test) : indptr.back()) + kSparePages;
}

}  // namespace

Shape DecodeCall::query_shape(int dim) const {
  if (!test.tokens.cu.empty()) return {1, test.tokens.total, test.heads_q, dim};
  return {batch(), test.len_q, test.heads_q, dim};
}

Shape DecodeCall::cache_shape(int dim) const {
  if (test.config.paged) return {page_count(test), test.page_size, test.heads_kv, dim};
  return {cache_row_count(test), test.max_len_k, test.heads_kv, dim};
}

std::int64_t DecodeCall::page_row_stride() const { return pages_of_a_row(test) + kSpareEntries; }
std::int64_t DecodeCall::tree_row_stride() const { return (test.len_q + kTreeBits - 1) / kTreeBits + 1; }
std::int64_t DecodeCall::tree_batch_stride() const {
  return test.tree == Tree::shared ? 0 : test.len_q * tree_row_stride() + 3;
}

DecodeCall::DecodeCall(const DecodeCase& given)
    : test(given),
      q(test.config.dtype, query_layout(test.layout), query_shape(test.config.head_dim_qk)),
      k(test.config.dtype, cache_layout(test), cache_shape(test.config.head_dim_qk)),
      v(test.config.dtype, cache_layout(test), cache_shape(test.config.head_dim_v)),
      out(output_type(test.config), query_layout(test.layout), query_shape(test.config.head_dim_v)),
      lse(static_cast<std::size_t>(out.shape().batch) * static_cast<std::size_t>(out.shape().length) *
          static_cast<std::size_t>(test.heads_q)) {
  const std::uint64_t seed = seed_of(name_of(test));
  if (test.config.paged) make_page_table(seed + 6);
  fill_queries(q, problem(), seed);
  fill_keys(k, problem(), seed + 1);
  fill_keys(v, problem(), seed + 2);
  if (test.config.bias != Bias::none) bias = BiasTensor(problem(), test.bias, seed + 3);
  const auto heads = static_cast<std::size_t>(test.heads_q);
  if (test.config.alibi)
    alibi_slopes = random_slopes(heads * (test.slopes_per_sequence ? test.lengths.size() : 1), seed + 4);
  if (test.config.sinks) sinks = random_sinks(test.heads_q, seed + 5);
  if (test.tree != Tree::none) make_tree(seed + 7);
  out.fill(kNan);  // what the kernel forgets to write shows, and what it must not
}

void DecodeCall::make_page_table(std::uint64_t seed) {
  const auto& indptr = test.page_lists.indptr;
  const std::int64_t entries =
      indptr.empty() ? cache_row_count(test) * page_row_stride() : indptr.back() + std::int64_t{kSpareEntries};
  page_table.assign(static_cast<std::size_t>(entries), kNoPage);
  const Problem truth = problem();
  PageDealer pages(page_count(test), seed);
  for (int b = 0; b < batch(); ++b)
    for (int j = 0; j < truth.keys_of(b); ++j) {
      std::int32_t& page = page_table[truth.page_entry(b, truth.padding_of(b) + j)];
      if (page == kNoPage) page = pages.next();
    }
}

void DecodeCall::make_tree(std::uint64_t seed) {
  constexpr int kOneInSeesNone = 8;
  const int trees = test.tree == Tree::shared ? std::min(batch(), 1) : batch();
  Draw draw(seed);
  tree.resize(static_cast<std::size_t>(trees * tree_batch_stride() + test.len_q * tree_row_stride()));
  for (std::size_t word = 0; word < tree.size(); ++word) tree[word] = static_cast<std::uint32_t>(mix(seed + 1, word));
  const auto row_of = [&](int b, int i) { return tree.begin() + b * tree_batch_stride() + i * tree_row_stride(); };
  for (int b = 0; b < trees; ++b)
    for (int i = 0; i < test.len_q; ++i) {
      const auto row = row_of(b, i);
      const auto words = (test.len_q + kTreeBits - 1) / kTreeBits;
      if (test.tree == Tree::bits) {
        if (draw.below(kOneInSeesNone) == 0) std::fill_n(row, words, 0U);
        continue;
      }
      const int parent = draw.below(i + 1) - 1;
      if (parent < 0) {
        std::fill_n(row, words, 0U);
      } else {
        std::copy_n(row_of(b, parent), words, row);
      }
      row[i / kTreeBits] |= 1U << (i % kTreeBits);
    }
}

void DecodeCall::upload() {
  const auto list = [](const auto& values) { return cuda::DeviceBuffer::of(Gpu::driver(), std::span(values)); };
  for (Tensor* tensor : {&q, &k, &v, &out}) tensor->upload();
  lse.upload();
  bias.upload();
  device_.alibi_slopes = list(alibi_slopes);
  device_.sinks = list(sinks);
  device_.tree = list(tree);
  device_.page_table = list(page_table);
  device_.lengths = list(test.lengths);
  device_.cu_q = list(test.tokens.cu);
  device_.used_q = list(test.tokens.used);
  device_.cache_rows = list(test.cache_rows);
  device_.left_padding = list(test.left_padding);
  device_.indptr = list(test.page_lists.indptr);
  device_.last_page_len = list(test.page_lists.last_page_len);
}

void DecodeCall::set_lists(const DecodeCase& changed) {
  test = changed;
  const auto put = [](cuda::DeviceBuffer& device, const std::vector<std::int32_t>& values) {
    if (!values.empty()) device.upload(std::as_bytes(std::span(values)));
  };
  put(device_.lengths, test.lengths);
  put(device_.cu_q, test.tokens.cu);
  put(device_.used_q, test.tokens.used);
  put(device_.cache_rows, test.cache_rows);
  put(device_.left_padding, test.left_padding);
  put(device_.indptr, test.page_lists.indptr);
  put(device_.last_page_len, test.page_lists.last_page_len);
  out.fill(kNan);
  out.upload();
  lse.upload();
}

void DecodeCall::set_lengths(const std::vector<std::int32_t>& lengths) {
  DecodeCase changed = test;
  changed.lengths = lengths;
  set_lists(changed);
}

void DecodeCall::upload_page_table() { device_.page_table.upload(std::as_bytes(std::span(page_table))); }

DecodeArgs DecodeCall::args() const {
  const AttentionConfig& config = test.config;
  DecodeArgs call{.q = q.input(),
                  .k_cache = k.input(),
                  .v_cache = v.input(),
                  .out = out.output(),
                  .lse = test.lse ? lse.data() : nullptr,
                  .lengths = test.pass_lengths ? device_.lengths.as<std::int32_t>() : nullptr,
                  .batch = batch(),
                  .len_q = test.len_q,
                  .max_len_k = test.max_len_k,
                  .heads_q = test.heads_q,
                  .heads_kv = test.heads_kv,
                  .scale = test.scale,
                  .window_left = test.window_left,
                  .window_right = test.window_right,
                  .lse_base2 = test.lse_base2,
                  .alibi_slopes = device_.alibi_slopes.as<float>(),
                  .alibi_batch_stride = test.slopes_per_sequence ? test.heads_q : 0,
                  .sinks = device_.sinks.as<float>(),
                  .cu_seqlens_q = device_.cu_q.as<std::int32_t>(),
                  .seqused_q = device_.used_q.as<std::int32_t>(),
                  .total_q = test.tokens.total,
                  .cache_rows = device_.cache_rows.as<std::int32_t>(),
                  .left_padding = device_.left_padding.as<std::int32_t>(),
                  .num_splits = test.num_splits,
                  .split_size = test.split_size,
                  .workspace = workspace.data(),
                  .workspace_bytes = workspace.size_bytes()};
  if (config.softcap) call.softcap = test.softcap;
  if (config.bias != Bias::none) call.bias = bias.input();
  if (test.tree != Tree::none) call.tree = {device_.tree.as<std::uint32_t>(), tree_batch_stride(), tree_row_stride()};
  if (config.paged)
    call.pages = {.table = device_.page_table.as<std::int32_t>(),
                  .row_stride = page_row_stride(),
                  .page_size = test.page_size,
                  .indptr = device_.indptr.as<std::int32_t>(),
                  .last_page_len = device_.last_page_len.as<std::int32_t>()};
  return call;
}

Problem DecodeCall::problem() const {
  const AttentionConfig& config = test.config;
  const float usual = 1 / std::sqrt(static_cast<float>(config.head_dim_qk));
  return {.config = config,
          .batch = batch(),
          .len_q = test.len_q,
          .len_k = test.max_len_k,
          .heads_q = test.heads_q,
          .heads_kv = test.heads_kv,
          .scale = test.scale.value_or(usual),
          .window_left = test.window_left,
          .window_right = test.window_right,
          .lengths = test.pass_lengths ? test.lengths : std::vector<std::int32_t>{},
          .q = q.view(),
          .k = k.view(),
          .v = v.view(),
          .lse_base2 = test.lse_base2,
          .softcap = test.softcap,
          .alibi_slopes = alibi_slopes,
          .sinks = sinks,
          .bias = bias.view(),
          .lengths_q = test.tokens.used,
          .cu_seqlens_q = test.tokens.cu,
          .total_q = test.tokens.total,
          .page_table = page_table,
          .page_row_stride = test.config.paged ? page_row_stride() : 0,
          .page_size = test.page_size,
          .page_indptr = test.page_lists.indptr,
          .last_page_len = test.page_lists.last_page_len,
          .cache_rows = test.cache_rows,
          .left_padding = test.left_padding,
          .tree = tree,
          .tree_batch_stride = tree_batch_stride(),
          .tree_row_stride = tree_row_stride()};
}

void DecodeCall::launch(Stream stream, const Runtime& runtime) {
  const DecodeKernel kernel = runtime.decode(test.config);
  DecodeArgs call = args();
  if (call.workspace_bytes < kernel.workspace_bytes(call)) workspace = make_workspace(kernel, call);
  kernel.launch(stream, call);
}

::testing::AssertionResult DecodeCall::matches_reference() {
  return matches(Judge(problem()));  // the GPU works meanwhile
}

::testing::AssertionResult DecodeCall::matches(const Judge& judge) {
  const Problem truth = problem();
  Gpu::synchronize();
  out.download();
  if (!out.gaps_untouched()) return ::testing::AssertionFailure() << "written between rows\n  repro: " << repro();
  if (auto good = output_matches(truth, out.view(), judge, repro()); !good || !test.lse) return good;
  return lse_matches(truth, lse.download(), judge, repro());
}

}  // namespace kiln::test
