// Takes its kernels from the pack built into it, and says where each came from.
#include <kiln/kiln.hpp>

#include <cstddef>
#include <filesystem>
#include <iostream>

// kernels.json says which, CMakeLists.txt builds them in.
extern "C" const std::byte kernels[], kernels_end[];

int main() {
  try {
    auto options = kiln::Options::from_environment();
    options.packs.emplace_back(kernels, kernels_end);
    options.jit = false;                          // a kernel that is not in the pack is an error
    options.cache_dir = std::filesystem::path();  // nothing is kept on the disk
    const kiln::Runtime runtime(options);
    const auto prefill = runtime.forward({.causal = true});
    const auto decode = runtime.decode({});
    for (const auto& info : {prefill.info(), decode.info()}) {
      std::cout << to_string(info.request.config) << " for " << info.target << ": "
                << (info.origin == kiln::Origin::precompiled ? "built in" : "from elsewhere") << '\n';
    }
    return 0;
  } catch (const kiln::Error& error) {
    std::cerr << "kiln, " << kiln::to_string(error.code()) << ": " << error.what() << '\n';
    return 1;
  }
}
