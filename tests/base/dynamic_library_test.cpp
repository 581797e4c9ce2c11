#include "base/dynamic_library.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dlfcn.h>
#include <string>
#include <utility>

namespace kiln::base {
namespace {

TEST(DynamicLibrary, OpensByNameAndFindsSymbols) {
  std::string why;
  auto library = DynamicLibrary::open("libm.so.6", why);
  ASSERT_TRUE(library) << why;
  auto* cosine = reinterpret_cast<double (*)(double)>(library->symbol("cos"));
  ASSERT_NE(cosine, nullptr);
  EXPECT_EQ(cosine(0.0), 1.0);
  EXPECT_EQ(library->symbol("no_such_function"), nullptr);
  EXPECT_TRUE(library->path().is_absolute()) << library->path();
  EXPECT_EQ(library->path().filename(), "libm.so.6");
}

TEST(DynamicLibrary, WhatCannotBeOpenedSaysWhy) {
  std::string why;
  EXPECT_FALSE(DynamicLibrary::open("/nowhere/libnothing.so", why));
  EXPECT_THAT(why, testing::HasSubstr("/nowhere/libnothing.so"));
  EXPECT_FALSE(DynamicLibrary::open("", why));
  EXPECT_THAT(why, testing::HasSubstr("empty"));
}

TEST(DynamicLibrary, StaysLoadedIfAsked) {
  const auto loaded = [] { return dlopen("libresolv.so.2", RTLD_NOW | RTLD_NOLOAD) != nullptr; };
  if (loaded()) GTEST_SKIP() << "the program holds libresolv.so.2 itself";
  std::string why;
  ASSERT_TRUE(DynamicLibrary::open("libresolv.so.2", why)) << why;
  EXPECT_FALSE(loaded()) << "destroying it unloads it";
  DynamicLibrary::open("libresolv.so.2", why)->never_unload();
  EXPECT_TRUE(loaded());
}

TEST(DynamicLibrary, MovingKeepsItOpen) {
  std::string why;
  auto first = DynamicLibrary::open("libm.so.6", why);
  ASSERT_TRUE(first) << why;
  DynamicLibrary second = std::move(*first);
  EXPECT_NE(second.symbol("sin"), nullptr);
  auto third = DynamicLibrary::open("libdl.so.2", why);
  ASSERT_TRUE(third) << why;
  *third = std::move(second);
  EXPECT_EQ(third->path().filename(), "libm.so.6");
}

}  // namespace
}  // namespace kiln::base
