#include "cli/selection.hpp"

#include "base/fail.hpp"
#include "plan/device_info.hpp"
#include "plan/names.hpp"
#include "plan/tuned_table.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

namespace kiln::cli {
namespace {

int parse_int(std::string_view word, std::string_view option, int least, int most) {
  int value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || end != word.data() + word.size() || value < least || value > most) {
    base::fail(ErrorCode::invalid_argument, "{}: \"{}\" is not a whole number from {} to {}", option, word, least,
               most);
  }
  return value;
}

struct HeadDims {
  int qk;
  int v;
};

HeadDims parse_head_dims(std::string_view word) {
  constexpr int kMost = 1 << 16;
  const std::size_t slash = word.find('/');
  const int qk = parse_int(word.substr(0, slash), "--head-dim", 1, kMost);
  return {qk, slash == std::string_view::npos ? qk : parse_int(word.substr(slash + 1), "--head-dim", 1, kMost)};
}

Alignment parse_align(std::string word) {
  std::ranges::replace(word, '-', '_');
  return plan::parse_alignment(word, "--align");
}

int parse_window_side(std::string_view word) {
  constexpr int kMost = 1 << 30;
  return word == "open" ? -1 : parse_int(word, "--fixed-window", 0, kMost);
}

void parse_window(const KernelWords& words, AttentionConfig& config) {
  if (words.window) config.window = Window::sliding;
  if (words.fixed_window.empty()) return;
  const std::string_view sides = words.fixed_window;
  const std::size_t slash = sides.find('/');
  if (words.window || slash == std::string_view::npos) {
    base::fail(ErrorCode::invalid_argument, "--fixed-window: \"{}\" {}", sides,
               words.window ? "and --window exclude each other" : "is not of the form 1023/0 or 1023/open");
  }
  config.window = Window::fixed;
  config.window_left = parse_window_side(sides.substr(0, slash));
  config.window_right = parse_window_side(sides.substr(slash + 1));
}

void parse_with(std::string_view words, AttentionConfig& config) {
  if (words.empty()) return;
  for (const std::string& word : split_list(words)) {
    const auto flags = plan::flag_names();
    const auto flag = std::ranges::find(flags, word, &plan::FlagName::name);
    if (flag != flags.end()) {
      config.*flag->member = true;
    } else if (word == plan::to_string(Bias::additive)) {
      config.bias = Bias::additive;
    } else if (word == plan::to_string(Bias::mask)) {
      config.bias = Bias::mask;
    } else {
      std::vector<std::string_view> known = {plan::to_string(Bias::additive), plan::to_string(Bias::mask)};
      for (const auto& each : flags) known.push_back(each.name);
      base::fail(ErrorCode::invalid_argument, "--with: \"{}\" is not one of {}", word, fmt::join(known, ", "));
    }
  }
}

/// Only decode kernels have any.
std::vector<int> parse_decode_rows(KernelKind kind, std::string_view words) {
  constexpr int kMost = 1 << 16;
  if (kind != KernelKind::decode) return {AttentionConfig{}.decode_rows};
  std::vector<int> rows;
  for (const std::string& word : split_list(words)) rows.push_back(parse_int(word, "--decode-rows", 1, kMost));
  return rows;
}

}  // namespace

std::vector<std::string> split_list(std::string_view words) {
  std::vector<std::string> list;
  for (std::size_t begin = 0; begin <= words.size();) {
    const std::size_t end = std::min(words.find(',', begin), words.size());
    list.emplace_back(words.substr(begin, end - begin));
    begin = end + 1;
  }
  return list;
}

namespace {

/// A merge has only types and the dim of values; what else is said must be of another kind in the list.
KernelRequest merge_request(const KernelWords& words, DType dtype, int head_dim_v) {
  const bool alone = words.kind == plan::to_string(KernelKind::merge);
  if (alone && (words.causal || words.window || !words.fixed_window.empty() || !words.with.empty())) {
    base::fail(ErrorCode::invalid_argument,
               "--kind: a merge has no mask, window or --with, only --dtype, --out-dtype and --head-dim");
  }
  const DType out = words.out_dtype.empty() ? dtype : plan::parse_dtype(words.out_dtype, "--out-dtype");
  return {.kind = KernelKind::merge, .merge = {.dtype = dtype, .out_dtype = out, .head_dim_v = head_dim_v}};
}

}  // namespace

std::vector<KernelRequest> parse_requests(const KernelWords& words) {
  AttentionConfig config{.causal = words.causal, .alignment = parse_align(words.align)};
  parse_window(words, config);
  parse_with(words.with, config);
  std::set<KernelRequest> seen;
  std::vector<KernelRequest> requests;
  for (const std::string& kind : split_list(words.kind)) {
    for (const std::string& dtype : split_list(words.dtype)) {
      for (const std::string& head_dim : split_list(words.head_dim)) {
        const auto [qk, v] = parse_head_dims(head_dim);
        const KernelKind parsed_kind = plan::parse_kind(kind, "--kind");
        config.dtype = plan::parse_dtype(dtype, "--dtype");
        config.head_dim_qk = qk;
        config.head_dim_v = v;
        if (parsed_kind == KernelKind::merge) {
          const KernelRequest request = merge_request(words, config.dtype, v);
          if (seen.insert(request).second) requests.push_back(request);
          continue;
        }
        for (const int rows : parse_decode_rows(parsed_kind, words.decode_rows)) {
          config.decode_rows = rows;
          const KernelRequest request{parsed_kind, config};
          if (seen.insert(request).second) requests.push_back(request);
        }
      }
    }
  }
  return requests;
}

KernelRequest parse_request(const KernelWords& words) {
  const auto requests = parse_requests(words);
  if (requests.size() != 1) {
    base::fail(ErrorCode::invalid_argument, "the options name {} kernels: this command takes one", requests.size());
  }
  return requests.front();
}

std::vector<KernelRequest> one_of_each_row(const std::vector<KernelRequest>& requests) {
  std::vector<KernelRequest> rows;
  for (const KernelRequest& request : requests) {
    const auto known = [&](const KernelRequest& row) { return plan::TunedTable::same_row(row, request); };
    if (request.kind != KernelKind::merge && std::ranges::none_of(rows, known)) rows.push_back(request);
  }
  return rows;
}

std::vector<int> parse_architectures(std::string_view words) {
  const auto known = plan::known_capabilities();
  if (words == "all") return {known.begin(), known.end()};
  std::vector<int> architectures;
  for (const std::string& word : split_list(words)) {
    std::string_view number = word;
    if (number.starts_with("sm_")) number.remove_prefix(3);
    const int architecture = parse_int(number, "--arch", 0, 9999);
    if (std::ranges::find(known, architecture) == known.end()) {
      base::fail(ErrorCode::invalid_argument, "--arch: {} is not one of {}, or all", architecture,
                 fmt::join(known, ", "));
    }
    if (std::ranges::find(architectures, architecture) == architectures.end()) architectures.push_back(architecture);
  }
  return architectures;
}

plan::Tiling parse_tiling(std::string_view words) {
  constexpr int kMost = 4096;
  std::string text(words);
  std::ranges::replace(text, 'x', ',');
  const auto parts = split_list(text);
  if (parts.size() != 5) {
    base::fail(ErrorCode::invalid_argument,
               "--tile: \"{}\" is not of the form 128x64,8,2,1 (rows x keys, warps, stages, "
               "blocks an SM)",
               words);
  }
  std::array<int, 5> n{};
  std::ranges::transform(parts, n.begin(), [](const std::string& part) { return parse_int(part, "--tile", 1, kMost); });
  return {.tile_m = n[0], .tile_n = n[1], .warps = n[2], .stages = n[3], .ctas_per_sm = n[4]};
}

std::string to_string(const plan::Tiling& tiling) {
  return fmt::format("{}x{},{},{},{}", tiling.tile_m, tiling.tile_n, tiling.warps, tiling.stages, tiling.ctas_per_sm);
}

int parse_length(std::string_view word, std::string_view option) {
  constexpr int kKibi = 1024;
  constexpr int kMost = 1 << 24;
  if (word.ends_with('k')) return parse_int(word.substr(0, word.size() - 1), option, 1, kMost / kKibi) * kKibi;
  return parse_int(word, option, 1, kMost);
}

namespace {

struct ShippedDims {
  int qk;
  int v;
};

void add_forward_kernels(DType dtype, std::vector<KernelRequest>& requests) {
  constexpr std::array kDims = {ShippedDims{64, 64}, ShippedDims{96, 96}, ShippedDims{128, 128}, ShippedDims{192, 128},
                                ShippedDims{256, 256}};
  for (const Window window : {Window::none, Window::sliding}) {
    for (const auto [qk, v] : kDims) {
      for (const bool causal : {false, true}) {
        AttentionConfig config{.dtype = dtype, .head_dim_qk = qk, .head_dim_v = v, .causal = causal, .window = window};
        requests.push_back({KernelKind::forward, config});
        config.ragged = true;
        requests.push_back({KernelKind::forward, config});
        config.paged = true;
        requests.push_back({KernelKind::forward, config});
      }
    }
  }
}

/// What hides keys comes with a decode call. One token and many.
void add_decode_kernels(DType dtype, std::vector<KernelRequest>& requests) {
  constexpr std::array kDims = {ShippedDims{64, 64}, ShippedDims{128, 128}, ShippedDims{192, 128},
                                ShippedDims{256, 256}};
  for (const bool paged : {false, true}) {
    for (const auto [qk, v] : kDims) {
      for (const int rows : {16, 64}) {
        requests.push_back({KernelKind::decode,
                            {.dtype = dtype, .head_dim_qk = qk, .head_dim_v = v, .paged = paged, .decode_rows = rows}});
      }
    }
    requests.push_back({KernelKind::decode, {.dtype = dtype, .softcap = true, .paged = paged}});
    requests.push_back({KernelKind::decode, {.dtype = dtype, .alibi = true, .paged = paged}});
  }
}

/// Of states as decode leaves them, and of float32 ones, which lose nothing on the way.
void add_merge_kernels(DType dtype, std::vector<KernelRequest>& requests) {
  for (const int dim : {64, 128, 256}) {
    for (const DType states : {dtype, DType::f32}) {
      requests.push_back(
          {.kind = KernelKind::merge, .merge = {.dtype = states, .out_dtype = dtype, .head_dim_v = dim}});
    }
  }
}

}  // namespace

std::vector<KernelRequest> shipped_requests() {
  std::vector<KernelRequest> requests;
  for (const DType dtype : {DType::f16, DType::bf16}) {
    add_forward_kernels(dtype, requests);
    add_decode_kernels(dtype, requests);
    add_merge_kernels(dtype, requests);
  }
  return requests;
}

}  // namespace kiln::cli
