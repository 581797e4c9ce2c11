// JSON, and the options read from it: what is accepted lies within its limits; writing what was read is a fixpoint.
#include "base/json.hpp"
#include "fuzz/fuzz.hpp"

#include <kiln/options.hpp>

#include <optional>

namespace {

using namespace kiln;

void check_json(std::string_view text) {
  base::Json json;
  if (!fuzz::accepts([&] { json = base::Json::parse(text, "fuzz"); })) return;
  const std::string written = json.dump();
  fuzz::require(base::Json::parse(written, "fuzz").dump() == written, "dump(parse(x)) is a fixpoint");
  fuzz::require(base::Json::parse(json.dump(true), "fuzz").dump() == written, "compact or not, it says the same");
}

void check_options(std::string_view text) {
  Options options;
  if (!fuzz::accepts([&] { options = Options::from_json(text, "fuzz"); })) return;
  fuzz::require(options.device >= -1 && options.compile_jobs >= 0, "numbers are within their limits");
  fuzz::require(options.log_level >= LogLevel::trace && options.log_level <= LogLevel::off, "a level is one of them");
  for (const auto& path : {options.cache_dir, options.precompiled, options.nvrtc_path, options.cuda_path,
                           options.tuned_dir, options.template_dir, options.dump_dir, options.record_file}) {
    fuzz::require(!path || path->native().find('\0') == std::string::npos, "a path is the system's to understand");
  }
}

}  // namespace

std::vector<std::string> fuzz::seeds() {
  return {
      R"({"device": 1, "cache_dir": "/tmp/kiln", "jit": false, "compile_jobs": 4, "log_level": "debug",
          "check_workspaces": true})",
      R"({"nvrtc_path": "/usr/lib/libnvrtc.so.13", "cuda_path": "", "tuned_dir": "t", "template_dir": "é",
          "record_file": "r"})",
      R"({"a": [1, -2.5e3, 1e-300, true, null, "\u00e9\ud83d\ude00\n", {"b": {"c": []}}], "": 9223372036854775807})",
      "// a comment\n[[[[0.1, -0.0, 1.0]]], {}]", "\"text\""};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check_json(fuzz::as_text(data, size));
  check_options(fuzz::as_text(data, size));
  return 0;
}
