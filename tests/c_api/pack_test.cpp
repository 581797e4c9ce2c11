// Packs built into a C program.
#include "api/fake_machine.hpp"
#include "api/packed.hpp"

#include <kiln/kiln.h>

#include <gtest/gtest.h>

namespace kiln {
namespace {

class CPackTest : public test::FakeMachine {
 protected:
  /// Options without NVRTC, and no cache.
  kiln_options* options_without_jit() const {
    kiln_options* made = nullptr;
    EXPECT_EQ(kiln_options_create(&made), KILN_OK);
    EXPECT_EQ(kiln_options_set(made, "cuda_path", test::FakeCuda::path().c_str()), KILN_OK);
    EXPECT_EQ(kiln_options_set(made, "cache_dir", ""), KILN_OK);
    EXPECT_EQ(kiln_options_set(made, "jit", "off"), KILN_OK);
    EXPECT_EQ(kiln_options_set(made, "log_level", "off"), KILN_OK);
    return made;
  }
  /// Where the kernel of all defaults came from, or the error's status.
  static int origin_under(const kiln_options* options) {
    kiln_runtime* runtime = nullptr;
    EXPECT_EQ(kiln_runtime_create(options, &runtime), KILN_OK);
    const kiln_attention_config config = kiln_attention_config_init();
    kiln_forward_kernel* kernel = nullptr;
    const kiln_status status = kiln_forward_get(runtime, &config, &kernel);
    kiln_kernel_info info = kiln_kernel_info_init();
    EXPECT_TRUE(status != KILN_OK || kiln_forward_info(kernel, &info) == KILN_OK);
    kiln_forward_release(kernel);
    kiln_runtime_destroy(runtime);
    return status == KILN_OK ? info.origin : status;
  }
};

TEST_F(CPackTest, ServesWithoutACompiler) {
  const test::FakeContext context(fake, 0);
  (void)Runtime(options()).forward({});
  const auto pack = test::packed(folder.path() / "cache");
  kiln_options* const made = options_without_jit();
  EXPECT_EQ(origin_under(made), KILN_ERROR_MISSING_KERNEL);
  EXPECT_EQ(kiln_options_add_pack(made, pack.data(), pack.size()), KILN_OK);
  EXPECT_EQ(origin_under(made), KILN_ORIGIN_PRECOMPILED);
  kiln_options_destroy(made);
}

TEST_F(CPackTest, BytesThatAreNoPackHoldNothing) {
  const test::FakeContext context(fake, 0);
  kiln_options* const made = options_without_jit();
  EXPECT_EQ(kiln_options_add_pack(made, "no pack", 7), KILN_OK);
  EXPECT_EQ(kiln_options_add_pack(made, "", 0), KILN_OK);
  EXPECT_EQ(origin_under(made), KILN_ERROR_MISSING_KERNEL);
  EXPECT_NE(std::string(kiln_last_error()).find("A pack is not used: a pack built into the program: 7 bytes"),
            std::string::npos)
      << kiln_last_error();
  kiln_options_destroy(made);
}

}  // namespace
}  // namespace kiln
