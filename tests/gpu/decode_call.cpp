#include "gpu/decode_call.hpp"

#include <algorithm>

namespace kiln::test {
namespace {

constexpr int kTreeBits = 32;
constexpr int kSparePages = 3;
constexpr int kSpareEntries = 2;  // of a page table, behind a row or list

Shape query_shape(const DecodeCase& test) {
  if (!test.tokens.cu.empty()) return {1, test.tokens.total, test.heads_q};
  return {test.batch(), test.len_q, test.heads_q};
}

/// Pages and rows that sequences choose have no batch to repeat them over.
Layout cache_layout(const DecodeCase& test) {
  return test.config.paged || !test.cache_rows.empty() ? without_broadcast(test.layout) : test.layout;
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

Shape cache_shape(const DecodeCase& test) {
  if (test.config.paged) return {page_count(test), test.page_size, test.heads_kv};
  return {cache_row_count(test), test.max_len_k, test.heads_kv};
}

}  // namespace

DecodeCall::DecodeCall(const DecodeCase& given)
    : CallTensors(given.config, {without_broadcast(given.layout), query_shape(given)},
                  {cache_layout(given), cache_shape(given)}),
      test(given) {
  const std::uint64_t seed = seed_of(name_of(test));
  if (test.config.paged) make_page_table(seed + 6);
  fill(test.bias, static_cast<std::size_t>(test.heads_q * (test.slopes_per_sequence ? batch() : 1)), seed);
  if (test.tree != Tree::none) make_tree(seed + 7);
}

std::int64_t DecodeCall::page_row_stride() const { return pages_of_a_row(test) + kSpareEntries; }
std::int64_t DecodeCall::tree_row_stride() const { return (test.len_q + kTreeBits - 1) / kTreeBits + 1; }
std::int64_t DecodeCall::tree_batch_stride() const {
  return test.tree == Tree::shared ? 0 : test.len_q * tree_row_stride() + 3;
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
  CallTensors::upload();
  device_ = {.lengths = on_device(test.lengths),
             .cu_q = on_device(test.tokens.cu),
             .used_q = on_device(test.tokens.used),
             .cache_rows = on_device(test.cache_rows),
             .left_padding = on_device(test.left_padding),
             .indptr = on_device(test.page_lists.indptr),
             .last_page_len = on_device(test.page_lists.last_page_len),
             .tree = on_device(tree)};
}

void DecodeCall::set_lists(const DecodeCase& changed) {
  test = changed;
  put(device_.lengths, test.lengths);
  put(device_.cu_q, test.tokens.cu);
  put(device_.used_q, test.tokens.used);
  put(device_.cache_rows, test.cache_rows);
  put(device_.left_padding, test.left_padding);
  put(device_.indptr, test.page_lists.indptr);
  put(device_.last_page_len, test.page_lists.last_page_len);
  clear_results();
}

void DecodeCall::set_lengths(const std::vector<std::int32_t>& lengths) {
  DecodeCase changed = test;
  changed.lengths = lengths;
  set_lists(changed);
}

DecodeArgs DecodeCall::args() const {
  auto call = args_of<DecodeArgs>(test, batch());
  call.k_cache = k.input();
  call.v_cache = v.input();
  if (test.pass_lengths) call.lengths = device_.lengths.as<std::int32_t>();
  call.max_len_k = test.max_len_k;
  call.cu_seqlens_q = device_.cu_q.as<std::int32_t>();
  call.seqused_q = device_.used_q.as<std::int32_t>();
  call.total_q = test.tokens.total;
  call.cache_rows = device_.cache_rows.as<std::int32_t>();
  call.left_padding = device_.left_padding.as<std::int32_t>();
  if (test.tree != Tree::none) call.tree = {device_.tree.as<std::uint32_t>(), tree_batch_stride(), tree_row_stride()};
  if (test.config.paged)
    call.pages = {.table = device_page_table(),
                  .row_stride = page_row_stride(),
                  .page_size = test.page_size,
                  .indptr = device_.indptr.as<std::int32_t>(),
                  .last_page_len = device_.last_page_len.as<std::int32_t>()};
  call.num_splits = test.num_splits;
  call.split_size = test.split_size;
  call.workspace = workspace.data();
  call.workspace_bytes = workspace.size_bytes();
  return call;
}

Problem DecodeCall::problem() const {
  Problem problem = problem_of(test, batch(), test.max_len_k);
  if (test.pass_lengths) problem.lengths = test.lengths;
  problem.lengths_q = test.tokens.used;
  problem.cu_seqlens_q = test.tokens.cu;
  problem.total_q = test.tokens.total;
  problem.page_row_stride = test.config.paged ? page_row_stride() : 0;
  problem.page_indptr = test.page_lists.indptr;
  problem.last_page_len = test.page_lists.last_page_len;
  problem.cache_rows = test.cache_rows;
  problem.left_padding = test.left_padding;
  problem.tree = tree;
  problem.tree_batch_stride = tree_batch_stride();
  problem.tree_row_stride = tree_row_stride();
  return problem;
}

void DecodeCall::launch(Stream stream, const Runtime& runtime) {
  const DecodeKernel kernel = runtime.decode(test.config);
  DecodeArgs call = args();
  if (call.workspace_bytes < kernel.workspace_bytes(call)) workspace = make_workspace(kernel, call);
  kernel.launch(stream, call);
}

}  // namespace kiln::test
