// What a C program can't see of the C interface: exceptions of all kinds, versions of a struct yet to come, defaults
// that two headers share, and what a launch allocates.
#include "api/fake_machine.hpp"
#include "c_api/convert.hpp"
#include "c_api/status.hpp"
#include "c_api/structs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <stdexcept>

namespace {

thread_local long allocations = 0;

// A sanitizer's run time makes the fake libcuda share this program's operator new.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kFakeIsCountedToo = true;
#else
constexpr bool kFakeIsCountedToo = false;
#endif

void* counted(std::size_t bytes) {
  ++allocations;
  void* const memory = std::malloc(bytes > 0 ? bytes : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes); }
void* operator new[](std::size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace kiln::c_api {

struct FirstVersion {
  std::size_t struct_size;
  std::int64_t needed;
};
struct SecondVersion {
  std::size_t struct_size;
  std::int64_t needed;
  std::int32_t added;
  std::int32_t reserved;
};
template <>
inline constexpr Layout<SecondVersion> kLayout<SecondVersion> = {
    "versioned", sizeof(FirstVersion), [] { return SecondVersion{sizeof(SecondVersion), 0, 42, 0}; }};

namespace {

using testing::HasSubstr;

struct Thrown {
  const char* name;
  void (*work)();
  kiln_status status;
  const char* text;
};

template <ErrorCode kCode>
void throw_error() {
  throw Error(kCode, "a sentence");
}

class Exceptions : public testing::TestWithParam<Thrown> {};

TEST_P(Exceptions, BecomeAStatusAndAText) {
  EXPECT_EQ(guarded(GetParam().work), GetParam().status);
  EXPECT_THAT(kiln_last_error(), HasSubstr(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    All, Exceptions,
    testing::Values(Thrown{"Invalid", throw_error<ErrorCode::invalid_argument>, KILN_ERROR_INVALID_ARGUMENT,
                           "a sentence"},
                    Thrown{"Io", throw_error<ErrorCode::io>, KILN_ERROR_IO, "a sentence"},
                    Thrown{"Memory", [] { throw std::bad_alloc(); }, KILN_ERROR_OUT_OF_MEMORY, "out of memory"},
                    Thrown{"Standard", [] { throw std::out_of_range("beyond"); }, KILN_ERROR_INTERNAL, "beyond"},
                    Thrown{"Foreign", [] { throw 7; }, KILN_ERROR_INTERNAL, "no std::exception"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST(Exceptions, AreKeptWithoutAllocating) {
  long before = 0;
  const auto status = guarded([&] {
    before = allocations;
    throw std::bad_alloc();
  });
  EXPECT_EQ(status, KILN_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(allocations, before);
}

TEST(Structs, AnOlderOneGetsTheDefaultsOfWhatCameLater) {
  const FirstVersion older{sizeof(FirstVersion), 5};
  const auto read =
      read_struct(reinterpret_cast<const SecondVersion*>(&older), "older", [](const auto& known) { return known; });
  EXPECT_EQ(read.struct_size, sizeof(SecondVersion));
  EXPECT_EQ(read.needed, 5);
  EXPECT_EQ(read.added, 42);
}

TEST(Structs, OneOfThisVersionIsReadWhereItLies) {
  const SecondVersion current{sizeof(SecondVersion), 5, 6, 0};
  EXPECT_EQ(read_struct(&current, "current", [](const auto& known) { return &known; }), &current);
}

TEST(Structs, AnOlderOneIsNotWrittenBeyondItsEnd) {
  struct {
    FirstVersion older;
    std::int64_t beyond;
  } memory{{sizeof(FirstVersion), 0}, 7};
  write_struct(reinterpret_cast<SecondVersion*>(&memory.older), {sizeof(SecondVersion), 5, 6, 0}, "older");
  EXPECT_EQ(memory.older.struct_size, sizeof(FirstVersion));
  EXPECT_EQ(memory.older.needed, 5);
  EXPECT_EQ(memory.beyond, 7);
}

TEST(Defaults, AreThoseOfCpp) {
  EXPECT_EQ(to_cpp(kiln_attention_config_init()), AttentionConfig());
  const auto forward = to_cpp(kiln_forward_args_init());
  const ForwardArgs wanted;
  EXPECT_EQ(forward.scale, wanted.scale);
  EXPECT_EQ(forward.window_left, wanted.window_left);
  EXPECT_EQ(forward.window_right, wanted.window_right);
  EXPECT_EQ(forward.lse, wanted.lse);
  EXPECT_EQ(forward.q.data, wanted.q.data);
  EXPECT_EQ(forward.out.strides, wanted.out.strides);
  EXPECT_EQ(forward.batch, wanted.batch);
  const auto decode = to_cpp(kiln_decode_args_init());
  const DecodeArgs wanted_decode;
  EXPECT_EQ(decode.scale, wanted_decode.scale);
  EXPECT_EQ(decode.window_left, wanted_decode.window_left);
  EXPECT_EQ(decode.num_splits, wanted_decode.num_splits);
  EXPECT_EQ(decode.lengths, wanted_decode.lengths);
  EXPECT_EQ(decode.workspace, wanted_decode.workspace);
  EXPECT_EQ(decode.workspace_bytes, wanted_decode.workspace_bytes);
  const auto prefix = to_cpp(kiln_shared_prefix_init());
  const SharedPrefix wanted_prefix;
  EXPECT_EQ(prefix.k.data, wanted_prefix.k.data);
  EXPECT_EQ(prefix.v.strides, wanted_prefix.v.strides);
  EXPECT_EQ(prefix.len, wanted_prefix.len);
  EXPECT_EQ(prefix.length, wanted_prefix.length);
  EXPECT_EQ(prefix.page_table, wanted_prefix.page_table);
}

using CLaunch = test::FakeMachine;

TEST_F(CLaunch, AllocatesNothing) {
  const test::FakeContext context(fake, 0);
  kiln_options* options = nullptr;
  kiln_runtime* runtime = nullptr;
  kiln_forward_kernel* forward = nullptr;
  kiln_decode_kernel* decode = nullptr;
  kiln_shared_prefix_decode* shared = nullptr;
  const auto config = kiln_attention_config_init();
  ASSERT_EQ(kiln_options_create(&options), KILN_OK);
  ASSERT_EQ(kiln_options_set(options, "cuda_path", test::FakeCuda::path().c_str()), KILN_OK);
  ASSERT_EQ(kiln_options_set(options, "nvrtc_path", KILN_NVRTC_SHIM), KILN_OK);
  ASSERT_EQ(kiln_options_set(options, "cache_dir", ""), KILN_OK);
  ASSERT_EQ(kiln_runtime_create(options, &runtime), KILN_OK) << kiln_last_error();
  ASSERT_EQ(kiln_forward_get(runtime, &config, &forward), KILN_OK) << kiln_last_error();
  ASSERT_EQ(kiln_decode_get(runtime, &config, &decode), KILN_OK) << kiln_last_error();
  ASSERT_EQ(kiln_shared_prefix_get(runtime, &config, &shared), KILN_OK) << kiln_last_error();

  auto* const memory = reinterpret_cast<void*>(0x10000);
  const kiln_strides strides = kiln_strides_bshd(16, 1, 128);
  auto forward_args = kiln_forward_args_init();
  forward_args.q = forward_args.k = forward_args.v = {memory, strides};
  forward_args.out = {memory, strides};
  forward_args.batch = forward_args.heads_q = forward_args.heads_kv = 1;
  forward_args.len_q = forward_args.len_k = 16;
  auto decode_args = kiln_decode_args_init();
  decode_args.q = decode_args.k_cache = decode_args.v_cache = {memory, strides};
  decode_args.out = {memory, strides};
  decode_args.batch = decode_args.heads_q = decode_args.heads_kv = decode_args.num_splits = 1;
  decode_args.max_len_k = 16;
  auto prefix = kiln_shared_prefix_init();
  prefix.k = prefix.v = decode_args.k_cache;
  prefix.len = 16;
  auto shared_args = decode_args;
  shared_args.workspace = memory;
  ASSERT_EQ(kiln_shared_prefix_workspace_bytes(shared, &shared_args, &prefix, &shared_args.workspace_bytes), KILN_OK);

  const long before = allocations;
  for (int i = 0; i < 10; ++i) {
    kiln_status status = kiln_forward_launch(forward, nullptr, &forward_args);
    if (status == KILN_OK) status = kiln_decode_launch(decode, nullptr, &decode_args);
    if (status == KILN_OK) status = kiln_runtime_launch_forward(runtime, &config, nullptr, &forward_args);
    if (status == KILN_OK) status = kiln_runtime_launch_decode(runtime, &config, nullptr, &decode_args);
    if (status == KILN_OK) status = kiln_shared_prefix_launch(shared, nullptr, &shared_args, &prefix);
    if (status != KILN_OK) ADD_FAILURE() << kiln_last_error();
  }
  if (!kFakeIsCountedToo) {
    EXPECT_EQ(allocations, before);
  }
  EXPECT_EQ(fake.launch_count(), 70);
  kiln_shared_prefix_release(shared);
  kiln_decode_release(decode);
  kiln_forward_release(forward);
  kiln_runtime_destroy(runtime);
  kiln_options_destroy(options);
}

}  // namespace
}  // namespace kiln::c_api
