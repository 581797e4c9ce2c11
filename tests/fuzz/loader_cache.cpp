// The loader's cache: what is found is an absolute path that stands in the text.
#include "jit/loader_cache.hpp"

#include "fuzz/fuzz.hpp"
#include "jit/fake_loader_cache.hpp"

std::vector<std::string> kiln::fuzz::seeds() {
  const std::string cache = test::fake_loader_cache({{"liba.so.1", "/lib/liba.so.1"},
                                                     {"libnvrtc.so.13", "/opt/cuda/lib/libnvrtc.so.13"},
                                                     {"libnvrtc.so.13", "/usr/lib/libnvrtc.so.13"},
                                                     {"libz.so", "relative/libz.so"}});
  return {cache, "ld.so-1.7.0" + std::string(37, '\0') + cache};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kiln;
  const std::string_view text = fuzz::as_text(data, size);
  for (const auto& path : jit::find_in_loader_cache(text, "libnvrtc.so.13")) {
    fuzz::require(path.is_absolute(), "a path is absolute");
    fuzz::require(text.find(path.native() + '\0') != std::string_view::npos, "a path stands in the text");
  }
  return 0;
}
