// Manifests and records of kernels to precompile: what is accepted can be written out as either, kernel by kernel, and
// reads the same.
#include "cli/manifest.hpp"

#include "fuzz/fuzz.hpp"
#include "plan/names.hpp"

#include <algorithm>
#include <set>

namespace {

using namespace kiln;

base::Json::Array kernels_of(const std::vector<cli::ManifestItem>& items) {
  base::Json::Array kernels;
  for (const auto& item : items) {
    base::Json kernel = plan::to_json(item.request);
    kernel["architectures"] = base::Json::Array{item.architecture};
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

std::string written(const base::Json::Array& kernels) {
  return base::Json(base::Json::Object{{"kernels", kernels}}).dump();
}

std::string recorded(const base::Json::Array& kernels) {
  std::string lines;
  for (const base::Json& kernel : kernels) lines += kernel.dump(true) + "\n";
  return lines;
}

}  // namespace

std::vector<std::string> fuzz::seeds() {
  return {
      R"({"architectures": [80, 90], "kernels": [{"kind": "forward", "dtype": ["bf16", "f16"], "head_dim": [64, 128],
              "causal": [true, false]}, {"kind": "decode", "head_dim": 128, "architectures": [90]}]})",
      R"({"architectures": "all", "kernels": [{"kind": ["forward", "decode"], "head_dim_qk": 64, "head_dim_v": 128,
              "alignment": "top_left", "window": ["none", "sliding"]}]})",
      R"({"architectures":[90],"causal":true,"dtype":"bf16","head_dim_qk":128,"head_dim_v":128,"kind":"forward"}

{"architectures":[80,90],"dtype":"f16","head_dim_v":[64,128],"kind":"merge","out_dtype":"f32"}
)"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<cli::ManifestItem> items;
  if (!fuzz::accepts([&] { items = cli::parse_manifest(fuzz::as_text(data, size), "fuzz"); })) return 0;
  fuzz::require(!items.empty(), "there is something to make");
  fuzz::require(std::set(items.begin(), items.end()).size() == items.size(), "each kernel is listed once");
  const auto kernels = kernels_of(items);
  fuzz::require(cli::parse_manifest(written(kernels), "fuzz") == items, "parse(write(x)) is x");
  fuzz::require(cli::parse_manifest(recorded(kernels), "fuzz") == items, "parse(record(x)) is x");
  return 0;
}
